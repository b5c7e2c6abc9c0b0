// A sensor on an ESP32 that sends to the MQTT bridge: one JSON message per second, with QoS 1 and a number.
//
// Library: "MQTT" by Joel Gaehwiler (Library Manager), which publishes with QoS 1. The bridge's input:
//
//   [[input]]
//   topic = "plant/{line}/pump/{pump}"
//   model = "pump-{line}"
//   template = "pump"
//   channels = ["vibration", "temperature"]
//   number = "seq"
//   run = "boot"
//
// A message without a confirmation is sent again with the same number, so the model learns it once. `boot` counts
// the starts of the device: then `seq` may begin at 0 again. A model with missing values takes null for a sensor
// that fails.

#include <MQTT.h>
#include <Preferences.h>
#include <WiFi.h>

const char *const WIFI_NAME = "plant";
const char *const WIFI_PASSWORD = "change me";
const char *const BROKER = "192.0.2.10";
const char *const DEVICE = "pump-7";  // the client's name at the broker: another one for each device
const char *const TOPIC = "plant/north/pump/7";
const uint32_t PERIOD_MS = 1000;

WiFiClient network;
MQTTClient mqtt(256);  // bytes of a message
Preferences flash;
uint32_t boot, seq;
char message[200];
bool waiting;  // whether the message has no confirmation
uint32_t next_sample;  // in milliseconds; the counter wraps after 50 days

float read_vibration() { return analogRead(34) * 0.001f; }  // replace these two by your sensors; NAN: it failed
float read_temperature() { return 20.0f + analogRead(35) * 0.01f; }

// Writes a value, or null: JSON has no NaN.
const char *number(float value, char *text, size_t size) {
  if (!isfinite(value)) return "null";
  snprintf(text, size, "%.6g", value);
  return text;
}

void measure() {
  char vibration[20], temperature[20];
  snprintf(message, sizeof message, "{\"boot\":%lu,\"seq\":%lu,\"vibration\":%s,\"temperature\":%s}",
           (unsigned long)boot, (unsigned long)seq, number(read_vibration(), vibration, sizeof vibration),
           number(read_temperature(), temperature, sizeof temperature));
  waiting = true;
}

void connect() {
  if (WiFi.status() != WL_CONNECTED) {
    WiFi.begin(WIFI_NAME, WIFI_PASSWORD);
    delay(2000);
  }
  if (WiFi.status() == WL_CONNECTED && !mqtt.connect(DEVICE)) delay(2000);
}

void setup() {
  flash.begin("streamlearn");
  boot = flash.getUInt("boot", 0) + 1;
  flash.putUInt("boot", boot);
  WiFi.mode(WIFI_STA);
  mqtt.begin(BROKER, network);
}

void loop() {
  mqtt.loop();
  if (!waiting && (int32_t)((uint32_t)millis() - next_sample) >= 0) {
    next_sample = millis() + PERIOD_MS;
    measure();
  }
  if (!mqtt.connected()) {
    connect();
  } else if (waiting && mqtt.publish(TOPIC, message, false, 1)) {  // true: the broker has confirmed it
    waiting = false;
    seq++;
  }
  delay(10);
}
