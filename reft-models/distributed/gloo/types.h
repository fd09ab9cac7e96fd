// The types of Gloo that libtorch's `ProcessGroupGloo.hpp` names. libtorch contains Gloo but its packages do not ship
// Gloo's headers. A process group is only made and called here, and holds these types behind pointers, so their layout is
// never used.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace gloo {

class Context {
   public:
    void setTimeout(std::chrono::milliseconds timeout);
};

namespace transport {
class Device;
class UnboundBuffer {
   public:
    virtual ~UnboundBuffer() = default;
};
}  // namespace transport

namespace rendezvous {
class Store {
   public:
    virtual ~Store() = default;
    virtual void set(const std::string& key, const std::vector<char>& value) = 0;
    virtual std::vector<char> get(const std::string& key) = 0;
    virtual void wait(const std::vector<std::string>& keys) = 0;
    virtual void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) = 0;
};
}  // namespace rendezvous

}  // namespace gloo
