// A process group of libtorch's c10d with Gloo, and the C functions that Rust calls.
#define USE_C10D_GLOO
#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <memory>
#include <string>

namespace {

using at::Tensor;
using std::chrono::milliseconds;

struct Group {
    c10::intrusive_ptr<c10d::TCPStore> store;
    c10::intrusive_ptr<c10d::ProcessGroupGloo> processes;
};

thread_local std::string failure;

// Runs `f`; what it throws is kept for `reft_group_failure`.
template <class F>
auto guarded(F f, decltype(f()) otherwise) -> decltype(f()) {
    try {
        return f();
    } catch (const c10::Error& error) {
        failure = error.what_without_backtrace();
    } catch (const std::exception& error) {
        failure = error.what();
    }
    return otherwise;
}

// Returns when every rank has connected to all others: one that leaves before would break the connections that others still make.
void wait_for_all(c10d::TCPStore& store, int32_t size) {
    if (store.add("reft/connected", 1) == size) store.set("reft/all_connected", std::vector<uint8_t>{1});
    store.wait({"reft/all_connected"});
}

}  // namespace

extern "C" {

const char* reft_group_failure() { return failure.c_str(); }

// Joins the ranks that meet at `host:port`, where rank 0 listens. `address` is what this rank is reached at.
Group* reft_group_join(const char* host, uint16_t port, int32_t rank, int32_t size, const char* address, int64_t timeout_ms) {
    return guarded(
        [&]() -> Group* {
            auto timeout = milliseconds(timeout_ms);
            c10d::TCPStoreOptions meeting;
            meeting.port = port;
            meeting.isServer = rank == 0;
            meeting.numWorkers = size;
            meeting.timeout = timeout;
            auto store = c10::make_intrusive<c10d::TCPStore>(host, meeting);
            auto options = c10d::ProcessGroupGloo::Options::create(timeout);
            options->devices.push_back(*address ? c10d::ProcessGroupGloo::createDeviceForHostname(address)
                                                : c10d::ProcessGroupGloo::createDefaultDevice());
            auto processes = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, options);
            wait_for_all(*store, size);
            return new Group{std::move(store), std::move(processes)};
        },
        nullptr);
}

// Adds the tensors of all ranks, in place.
bool reft_group_sum(Group* group, const Tensor* values) {
    return guarded(
        [&] {
            std::vector<Tensor> tensors{*values};
            group->processes->allreduce(tensors)->wait();
            return true;
        },
        false);
}

// Gives every rank the tensor of rank 0, in place.
bool reft_group_broadcast(Group* group, const Tensor* values) {
    return guarded(
        [&] {
            std::vector<Tensor> tensors{*values};
            group->processes->broadcast(tensors)->wait();
            return true;
        },
        false);
}

void reft_group_leave(Group* group) { delete group; }
}
