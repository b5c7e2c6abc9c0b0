// A stand-in for the libraries of the sketch: messages go to standard output. Every third attempt is not confirmed
// although the broker has the message, and the connection is lost once.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
using std::isfinite;

static unsigned long now_ms = 4294967000UL;  // the counter of milliseconds wraps during the test
inline unsigned long millis() { return (uint32_t)now_ms; }
inline void delay(unsigned long ms) { now_ms += ms; }
inline int analogRead(int pin) {
  static int reads = 0;
  return pin * 10 + reads++ % 7;
}

struct WiFiClient {};

class MQTTClient {
 public:
  explicit MQTTClient(int) {}
  void begin(const char *, WiFiClient &) {}
  bool connect(const char *) { return linked = true; }
  bool connected() { return linked; }
  bool loop() { return linked; }
  bool publish(const char *topic, const char *payload, bool retained, int qos) {
    printf("%s %d %d %s\n", topic, retained, qos, payload);
    if (++attempts % 3) return true;
    linked = attempts != 6;
    return false;
  }

 private:
  bool linked = false;
  int attempts = 0;
};
