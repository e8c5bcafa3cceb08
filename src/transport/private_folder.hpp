// A new folder for a socket of ours that only we can enter, removed with all in it at the end. One
// thread at a time.
#pragma once

#include <string>

namespace diskdump {

class private_folder {
 public:
  private_folder();  // throws with the path where it cannot be made
  ~private_folder();
  private_folder(private_folder const&) = delete;
  private_folder& operator=(private_folder const&) = delete;

  // Where the socket goes: short enough for one.
  [[nodiscard]] std::string socket() const { return path_ + "/s"; }

 private:
  std::string path_;
};

}  // namespace diskdump
