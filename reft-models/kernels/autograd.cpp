// The kernels as differentiable libtorch operations, and the C functions that Rust calls. The only file that needs
// libtorch's headers. Weights are frozen: none of these has a gradient with respect to one.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstdio>
#include <memory>

#include "checks.h"
#include "instruction_set.h"

namespace reft {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// Calls `f` with a null pointer of the element type of `x`.
template <class F>
void by_type(const Tensor& x, F f) {
    if (x.scalar_type() == at::kFloat)
        f(static_cast<float*>(nullptr));
    else if (x.scalar_type() == at::kBFloat16)
        f(static_cast<bf16*>(nullptr));
    else
        TORCH_CHECK(false, "CPU kernels are for Float and BFloat16, not ", x.scalar_type());
}

template <class T>
const Kernels<T>& kernels(InstructionSet set, T*) {
    return kernels_of<T>(set);
}

// What the backward pass needs to know of the forward pass beside tensors.
void save(AutogradContext* ctx, const char* name, int64_t value) { ctx->saved_data[name] = value; }
int64_t saved(AutogradContext* ctx, const char* name) { return ctx->saved_data[name].toInt(); }
InstructionSet saved_set(AutogradContext* ctx) { return InstructionSet(saved(ctx, "set")); }

// Whether an operation on `x` is recorded for a backward pass.
bool is_tracked(const Tensor& x) { return at::GradMode::is_enabled() && x.requires_grad(); }

// A gradient of a gradient would be taken as 0.
void refuse_second_derivative() {
    TORCH_CHECK(!at::GradMode::is_enabled(), "the CPU kernels have no second derivative (create_graph)");
}

struct RmsNorm : Function<RmsNorm> {
    static Tensor forward(AutogradContext* ctx, InstructionSet set, const Tensor& input, const Tensor& given, double eps) {
        Tensor x = input.contiguous(), weight = given.contiguous(), y = at::empty_like(x);
        Tensor inverse = at::empty({x.size(0)}, x.options().dtype(at::kFloat));
        by_type(x, [&](auto* type) {
            using T = std::remove_pointer_t<decltype(type)>;
            kernels(set, type).rms_norm(x.size(0), x.size(1), data<T>(x), data<T>(weight), float(eps), data<T>(y),
                                        data<float>(inverse));
        });
        ctx->save_for_backward({x, weight, inverse});
        save(ctx, "set", int64_t(set));
        return y;
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        refuse_second_derivative();
        auto saved = ctx->get_saved_variables();
        Tensor x = saved[0], weight = saved[1], inverse = saved[2], dy = grads[0].contiguous(), dx = at::empty_like(x);
        by_type(x, [&](auto* type) {
            using T = std::remove_pointer_t<decltype(type)>;
            kernels(saved_set(ctx), type)
                .rms_norm_back(x.size(0), x.size(1), data<T>(x), data<T>(weight), data<float>(inverse), data<T>(dy),
                               data<T>(dx));
        });
        return {Tensor(), dx, Tensor(), Tensor()};
    }
};

struct Gated : Function<Gated> {
    static Tensor forward(AutogradContext* ctx, InstructionSet set, const Tensor& input, int64_t activation) {
        Tensor x = input.contiguous(), y = at::empty({x.size(0), x.size(1) / 2}, x.options());
        by_type(x, [&](auto* type) {
            using T = std::remove_pointer_t<decltype(type)>;
            kernels(set, type).gated[activation].forward(y.size(0), y.size(1), data<T>(x), data<T>(y));
        });
        ctx->save_for_backward({x});
        save(ctx, "set", int64_t(set));
        save(ctx, "activation", activation);
        return y;
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        refuse_second_derivative();
        Tensor x = ctx->get_saved_variables()[0], dy = grads[0].contiguous(), dx = at::empty_like(x);
        by_type(x, [&](auto* type) {
            using T = std::remove_pointer_t<decltype(type)>;
            kernels(saved_set(ctx), type)
                .gated[saved(ctx, "activation")]
                .back(dy.size(0), dy.size(1), data<T>(x), data<T>(dy), data<T>(dx));
        });
        return {Tensor(), dx, Tensor()};
    }
};

// `qkv` [N, (H + 2K) E], `sequences` [B, 4] i64, cos and sin [N, R/2] f32, past [rows, K, E].
Attention shape_of(const Heads& heads, const Tensor& qkv, const Tensor& sequences, const Tensor& cos, const Tensor& sin) {
    return {heads.queries,
            heads.keys,
            qkv.size(1) / (heads.queries + 2 * heads.keys),
            cos.size(1) * 2,
            sequences.size(0),
            reinterpret_cast<const Sequence*>(data<int64_t>(sequences)),
            data<float>(cos),
            data<float>(sin),
            heads.causal,
            heads.window,
            heads.ring,
            heads.scale};
}

// Memory for all threads that the calling one starts, grown and never shrunk. Allocated here, since no exception may
// leave a parallel loop.
Workspace workspace(int64_t floats_per_thread) {
    static thread_local std::unique_ptr<float[]> memory;
    static thread_local int64_t size = 0;
    int64_t threads = at::get_num_threads(), needed = threads * floats_per_thread;
    if (size < needed) {
        size = 0;
        memory.reset();
        memory.reset(new float[needed]);
        size = needed;
    }
    return {threads, floats_per_thread, memory.get()};
}

// Kernels write into the cache behind libtorch's back: what saved it for a backward pass must notice.
void count_as_changed(const Tensor& x) {
    if (!x.is_inference()) x.unsafeGetTensorImpl()->bump_version();
}

struct Attend : Function<Attend> {
    static Tensor forward(AutogradContext* ctx, InstructionSet set, const Tensor& input, const Tensor& given_k,
                          const Tensor& given_v, const Tensor& sequences, const Tensor& given_cos, const Tensor& given_sin,
                          const Heads& heads, bool append) {
        Tensor qkv = input.contiguous(), past_k = given_k.contiguous(), past_v = given_v.contiguous();
        Tensor cos = given_cos.contiguous(), sin = given_sin.contiguous();
        Attention a = shape_of(heads, qkv, sequences, cos, sin);
        // Rows of padding belong to no sequence and stay 0.
        Tensor y = at::zeros({qkv.size(0), a.heads * a.width}, qkv.options());
        by_type(qkv, [&](auto* type) {
            using T = std::remove_pointer_t<decltype(type)>;
            const Kernels<T>& with = kernels(set, type);
            with.attention(a, data<T>(qkv), data<T>(past_k), data<T>(past_v), append, data<T>(y),
                           workspace(with.scratch_floats(a, at::get_num_threads(), false)));
        });
        if (append) {
            // What is written behind the past is not saved: such a pass is never differentiated.
            count_as_changed(past_k);
            count_as_changed(past_v);
            return y;
        }
        ctx->save_for_backward({qkv, past_k, past_v, sequences, cos, sin});
        save(ctx, "set", int64_t(set));
        save(ctx, "heads", heads.queries);
        save(ctx, "kv_heads", heads.keys);
        save(ctx, "causal", heads.causal);
        save(ctx, "window", heads.window);
        ctx->saved_data["scale"] = double(heads.scale);
        return y;
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        refuse_second_derivative();
        auto tensors = ctx->get_saved_variables();
        Tensor qkv = tensors[0], dy = grads[0].contiguous(), dqkv = at::zeros_like(qkv);
        Heads heads = {saved(ctx, "heads"), saved(ctx, "kv_heads"), saved(ctx, "causal") != 0, saved(ctx, "window"),
                       INT64_MAX, float(ctx->saved_data["scale"].toDouble())};
        Attention a = shape_of(heads, qkv, tensors[3], tensors[4], tensors[5]);
        by_type(qkv, [&](auto* type) {
            using T = std::remove_pointer_t<decltype(type)>;
            const Kernels<T>& with = kernels(saved_set(ctx), type);
            with.attention_back(a, data<T>(qkv), data<T>(tensors[1]), data<T>(tensors[2]), data<T>(dy), data<T>(dqkv),
                                workspace(with.scratch_floats(a, at::get_num_threads(), true)));
        });
        variable_list gradients(9);  // one for each argument of `forward`
        gradients[1] = dqkv;
        return gradients;
    }
};

// oneDNN's own arrangement of a weight, made once instead of at every product.
Tensor pack(const Tensor& weight) {
    check_constant("weight", weight, 2, at::kBFloat16);
    static auto op = c10::Dispatcher::singleton()
                         .findSchemaOrThrow("mkldnn::_reorder_linear_weight", "")
                         .typed<Tensor(const Tensor&, std::optional<c10::SymInt>)>();
    return op.call(weight, std::nullopt);
}

Tensor packed_product(const Tensor& x, const Tensor& packed, const std::optional<Tensor>& bias) {
    static auto op = c10::Dispatcher::singleton()
                         .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
                         .typed<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::string_view,
                                       c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>)>();
    return op.call(x, packed, bias, "none", c10::List<std::optional<at::Scalar>>(), "");
}

struct PackedLinear : Function<PackedLinear> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& packed, const Tensor& back,
                          const std::optional<Tensor>& bias) {
        ctx->saved_data["back"] = back;
        return packed_product(x.contiguous(), packed, bias);
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        refuse_second_derivative();
        Tensor back = ctx->saved_data["back"].toTensor();
        return {packed_product(grads[0].contiguous(), back, std::nullopt), Tensor(), Tensor(), Tensor()};
    }
};

// An f32 weight [out, in] in panels of the instruction set's own width.
Tensor pack_panels(InstructionSet set, const Tensor& given) {
    check_constant("weight", given, 2, at::kFloat);
    Tensor weight = given.contiguous();
    int64_t out = weight.size(0), in = weight.size(1);
    Tensor packed = at::empty({products_of(set).packed_floats(out, in)}, weight.options());
    products_of(set).pack(out, in, data<float>(weight), data<float>(packed));
    return packed;
}

Tensor unpack_panels(InstructionSet set, const Tensor& packed, int64_t out, int64_t in) {
    check_panels(set, packed, out, in);
    Tensor weight = at::empty({out, in}, packed.options());
    products_of(set).unpack(out, in, data<float>(packed), data<float>(weight));
    return weight;
}

Tensor panel_product(InstructionSet set, const Tensor& input, const Tensor& packed, int64_t out,
                     const std::optional<Tensor>& given_bias) {
    Tensor x = input.contiguous(), y = at::empty({x.size(0), out}, x.options());
    Tensor bias = given_bias ? given_bias->contiguous() : Tensor();
    const Products& with = products_of(set);
    Product p = {x.size(0), x.size(1), out, data<float>(x), data<float>(packed), given_bias ? data<float>(bias) : nullptr,
                 data<float>(y)};
    with.product(p, workspace(with.scratch_floats));
    return y;
}

struct PanelLinear : Function<PanelLinear> {
    static Tensor forward(AutogradContext* ctx, InstructionSet set, const Tensor& x, const Tensor& packed, int64_t out,
                          const std::optional<Tensor>& bias) {
        ctx->saved_data["packed"] = packed;
        save(ctx, "set", int64_t(set));
        save(ctx, "in", x.size(1));
        return panel_product(set, x, packed, out, bias);
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        refuse_second_derivative();
        const Products& with = products_of(saved_set(ctx));
        Tensor packed = ctx->saved_data["packed"].toTensor(), dy = grads[0].contiguous();
        int64_t rows = dy.size(0), out = dy.size(1), in = saved(ctx, "in");
        Tensor dx = at::empty({rows, in}, dy.options()), turned = at::empty({with.turned_floats(rows, out)}, dy.options());
        ProductGradient p = {rows, in, out, data<float>(dy), data<float>(packed), data<float>(dx), data<float>(turned)};
        with.gradient(p, workspace(with.scratch_floats));
        return {Tensor(), dx, Tensor(), Tensor(), Tensor()};
    }
};

// Why this thread's last call gave nothing, cut where it is too long. No allocation: memory may be what has run out.
thread_local char failure[2048];

void fail(const char* name, const char* reason) noexcept { std::snprintf(failure, sizeof failure, "%s: %s", name, reason); }

// A new tensor that Rust owns, or null with the reason in `failure`: no exception leaves C++.
template <class F>
Tensor* guarded(const char* name, F f) noexcept {
    try {
        return new Tensor(f());
    } catch (const c10::Error& error) {
        fail(name, error.what_without_backtrace());
    } catch (const std::exception& error) {
        fail(name, error.what());
    } catch (...) {
        fail(name, "unknown C++ exception");
    }
    return nullptr;
}

InstructionSet available(int32_t set) {
    TORCH_CHECK(is_available(InstructionSet(set)), "no kernels for instruction set ", set, " on this processor");
    return InstructionSet(set);
}

}  // namespace
}  // namespace reft

extern "C" {
using at::Tensor;

const char* reft_failure() { return reft::failure; }

bool reft_gradients_are_on() { return at::GradMode::is_enabled(); }

Tensor* reft_pack(const Tensor* weight) {
    return reft::guarded("pack", [&] { return reft::pack(*weight); });
}

// `back` is the packed transpose, needed where `x` has a gradient only.
Tensor* reft_packed_linear(const Tensor* x, const Tensor* packed, const Tensor* back, const Tensor* bias) {
    return reft::guarded("packed linear", [&] {
        reft::check_packed_linear(*x, *packed, back, bias);
        auto with = bias ? std::optional<Tensor>(*bias) : std::nullopt;
        return back ? reft::PackedLinear::apply(*x, *packed, *back, with) : reft::packed_product(x->contiguous(), *packed, with);
    });
}

Tensor* reft_pack_panels(int32_t set, const Tensor* weight) {
    return reft::guarded("pack", [&] { return reft::pack_panels(reft::available(set), *weight); });
}

Tensor* reft_unpack_panels(int32_t set, const Tensor* packed, int64_t out, int64_t in) {
    return reft::guarded("unpack", [&] { return reft::unpack_panels(reft::available(set), *packed, out, in); });
}

Tensor* reft_panel_linear(int32_t set, const Tensor* x, const Tensor* packed, int64_t out, const Tensor* bias) {
    return reft::guarded("packed linear", [&] {
        auto of = reft::available(set);
        reft::check_panel_linear(of, *x, *packed, out, bias);
        auto with = bias ? std::optional<Tensor>(*bias) : std::nullopt;
        return reft::is_tracked(*x) ? reft::PanelLinear::apply(of, *x, *packed, out, with)
                                    : reft::panel_product(of, *x, *packed, out, with);
    });
}

Tensor* reft_rms_norm(int32_t set, const Tensor* x, const Tensor* weight, double eps) {
    return reft::guarded("rms_norm", [&] {
        reft::check_rms_norm(*x, *weight, eps);
        return reft::RmsNorm::apply(reft::available(set), *x, *weight, eps);
    });
}

Tensor* reft_gated(int32_t set, const Tensor* x, int64_t activation) {
    return reft::guarded("gated unit", [&] {
        reft::check_gated(*x, activation);
        return reft::Gated::apply(reft::available(set), *x, activation);
    });
}

// `past_k` and `past_v` are null where there is no past.
Tensor* reft_attention(int32_t set, const Tensor* qkv, const Tensor* past_k, const Tensor* past_v, const Tensor* sequences,
                       const Tensor* cos, const Tensor* sin, int64_t heads, int64_t kv_heads, bool causal, int64_t window,
                       int64_t ring, float scale, bool append) {
    return reft::guarded("attention", [&] {
        reft::Heads of = {heads, kv_heads, causal, window, ring, scale};
        reft::check_attention(*qkv, past_k, past_v, *sequences, *cos, *sin, of, append);
        Tensor none = past_k ? Tensor() : at::empty({0, kv_heads, 1}, qkv->options());
        return reft::Attend::apply(reft::available(set), *qkv, past_k ? *past_k : none, past_v ? *past_v : none, *sequences,
                                   *cos, *sin, of, append);
    });
}
}
