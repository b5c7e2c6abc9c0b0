// Values that survive a restart of the device, in a file.
#pragma once
#include <cstdint>
#include <cstdio>

class Preferences {
 public:
  bool begin(const char *) { return true; }
  uint32_t getUInt(const char *name, uint32_t missing) {
    unsigned value = missing;
    if (FILE *file = fopen(name, "r")) {
      if (fscanf(file, "%u", &value) != 1) value = missing;
      fclose(file);
    }
    return value;
  }
  size_t putUInt(const char *name, uint32_t value) {
    FILE *file = fopen(name, "w");
    fprintf(file, "%u", (unsigned)value);
    fclose(file);
    return 4;
  }
};
