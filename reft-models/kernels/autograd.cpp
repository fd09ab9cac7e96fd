// The kernels as differentiable libtorch operations, and the C functions that Rust calls. The only file that needs
// libtorch's headers. Weights are frozen: none of these has a gradient with respect to one.
#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels.h"

#define DECLARE(SET)                       \
    namespace reft::SET {                  \
    const reft::Kernels<float>& f32();     \
    const reft::Kernels<reft::bf16>& b16(); \
    }
DECLARE(base)
#ifdef __x86_64__
DECLARE(avx2)
DECLARE(avx512)
#define CHOOSE(type)                                                                                      \
    static const auto& chosen = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && \
                                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") \
                                    ? avx512::type()                                                      \
                                : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? avx2::type() \
                                                                                                  : base::type()
#else
#define CHOOSE(type) static const auto& chosen = base::type()
#endif

namespace reft {

template <>
const Kernels<float>& kernels_for_this_machine<float>() {
    CHOOSE(f32);
    return chosen;
}

template <>
const Kernels<bf16>& kernels_for_this_machine<bf16>() {
    CHOOSE(b16);
    return chosen;
}

namespace {

using at::Tensor;
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
        TORCH_CHECK(false, "CPU kernels are for f32 and bf16, not ", x.scalar_type());
}

template <class T>
T* data(const Tensor& x) {
    TORCH_CHECK(x.is_contiguous() && x.is_cpu(), "a contiguous CPU tensor is needed");
    return static_cast<T*>(x.data_ptr());
}

template <class T>
const Kernels<T>& kernels(T*) {
    return kernels_for_this_machine<T>();
}

struct RmsNorm : Function<RmsNorm> {
    static Tensor forward(AutogradContext* ctx, const Tensor& input, const Tensor& weight, double eps) {
        Tensor x = input.contiguous(), y = at::empty_like(x), inverse = at::empty({x.size(0)}, x.options().dtype(at::kFloat));
        by_type(x, [&](auto* type) {
            using T = std::remove_pointer_t<decltype(type)>;
            kernels(type).rms_norm(x.size(0), x.size(1), data<T>(x), data<T>(weight), float(eps), data<T>(y),
                                   data<float>(inverse));
        });
        ctx->save_for_backward({x, weight, inverse});
        return y;
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        auto saved = ctx->get_saved_variables();
        Tensor x = saved[0], weight = saved[1], inverse = saved[2], dy = grads[0].contiguous(), dx = at::empty_like(x);
        by_type(x, [&](auto* type) {
            using T = std::remove_pointer_t<decltype(type)>;
            kernels(type).rms_norm_back(x.size(0), x.size(1), data<T>(x), data<T>(weight), data<float>(inverse), data<T>(dy),
                                        data<T>(dx));
        });
        return {dx, Tensor(), Tensor()};
    }
};

struct GatedSilu : Function<GatedSilu> {
    static Tensor forward(AutogradContext* ctx, const Tensor& input) {
        Tensor x = input.contiguous(), y = at::empty({x.size(0), x.size(1) / 2}, x.options());
        by_type(x, [&](auto* type) {
            using T = std::remove_pointer_t<decltype(type)>;
            kernels(type).gated_silu(y.size(0), y.size(1), data<T>(x), data<T>(y));
        });
        ctx->save_for_backward({x});
        return y;
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        Tensor x = ctx->get_saved_variables()[0], dy = grads[0].contiguous(), dx = at::empty_like(x);
        by_type(x, [&](auto* type) {
            using T = std::remove_pointer_t<decltype(type)>;
            kernels(type).gated_silu_back(dy.size(0), dy.size(1), data<T>(x), data<T>(dy), data<T>(dx));
        });
        return {dx};
    }
};

// `sequences` [B, 4] i64, cos and sin [N, E/2] f32, past [rows, K, E] (or empty).
Attention shape_of(int64_t heads, int64_t kv_heads, bool causal, const Tensor& sequences, const Tensor& cos,
                   const Tensor& sin) {
    return {heads,
            kv_heads,
            cos.size(-1) * 2,
            sequences.size(0),
            reinterpret_cast<const Sequence*>(data<int64_t>(sequences)),
            data<float>(cos),
            data<float>(sin),
            causal};
}


struct Attend : Function<Attend> {
    static Tensor forward(AutogradContext* ctx, const Tensor& input, const Tensor& past_k, const Tensor& past_v,
                          const Tensor& sequences, const Tensor& cos, const Tensor& sin, int64_t heads, int64_t kv_heads,
                          bool causal, bool append) {
        Tensor qkv = input.contiguous();
        Attention a = shape_of(heads, kv_heads, causal, sequences, cos, sin);
        // Rows of padding belong to no sequence and stay 0.
        Tensor y = at::zeros({qkv.size(0), heads * a.width}, qkv.options());
        by_type(qkv, [&](auto* type) {
            using T = std::remove_pointer_t<decltype(type)>;
            kernels(type).attention(a, data<T>(qkv), data<T>(past_k), data<T>(past_v), append, data<T>(y));
        });
        // What is written behind the past is not saved: such a pass is never differentiated.
        if (!append) {
            ctx->save_for_backward({qkv, past_k, past_v, sequences, cos, sin});
            ctx->saved_data["heads"] = heads;
            ctx->saved_data["kv_heads"] = kv_heads;
            ctx->saved_data["causal"] = causal;
        }
        return y;
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        auto saved = ctx->get_saved_variables();
        Tensor qkv = saved[0], dy = grads[0].contiguous(), dqkv = at::zeros_like(qkv);
        auto number = [&](const char* name) { return ctx->saved_data[name].toInt(); };
        Attention a = shape_of(number("heads"), number("kv_heads"), ctx->saved_data["causal"].toBool(), saved[3], saved[4], saved[5]);
        by_type(qkv, [&](auto* type) {
            using T = std::remove_pointer_t<decltype(type)>;
            kernels(type).attention_back(a, data<T>(qkv), data<T>(saved[1]), data<T>(saved[2]), data<T>(dy),
                                         data<T>(dqkv));
        });
        return {dqkv,     Tensor(), Tensor(), Tensor(), Tensor(),
                Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
    }
};

// oneDNN's own arrangement of a weight, made once instead of at every product.
Tensor pack(const Tensor& weight) {
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
        Tensor back = ctx->saved_data["back"].toTensor();
        return {packed_product(grads[0].contiguous(), back, std::nullopt), Tensor(), Tensor(), Tensor()};
    }
};

thread_local std::string failure;

// A new tensor that Rust owns, or null with the reason in `failure`: no exception leaves C++.
template <class F>
Tensor* guarded(F f) {
    try {
        return new Tensor(f());
    } catch (const std::exception& error) {
        failure = error.what();
        return nullptr;
    }
}

Tensor or_empty(const Tensor* x, const Tensor& like) { return x ? *x : at::empty({0}, like.options()); }

}  // namespace
}  // namespace reft

extern "C" {
using at::Tensor;

const char* reft_failure() { return reft::failure.c_str(); }

Tensor* reft_pack(const Tensor* weight) {
    return reft::guarded([&] { return reft::pack(*weight); });
}

// `back` is the packed transpose, needed where `x` has a gradient only.
Tensor* reft_packed_linear(const Tensor* x, const Tensor* packed, const Tensor* back, const Tensor* bias) {
    return reft::guarded([&] {
        auto with = bias ? std::optional<Tensor>(*bias) : std::nullopt;
        return back ? reft::PackedLinear::apply(*x, *packed, *back, with) : reft::packed_product(x->contiguous(), *packed, with);
    });
}

Tensor* reft_rms_norm(const Tensor* x, const Tensor* weight, double eps) {
    return reft::guarded([&] { return reft::RmsNorm::apply(*x, *weight, eps); });
}

Tensor* reft_gated_silu(const Tensor* x) {
    return reft::guarded([&] { return reft::GatedSilu::apply(*x); });
}

Tensor* reft_attention(const Tensor* qkv, const Tensor* past_k, const Tensor* past_v, const Tensor* sequences, const Tensor* cos,
                       const Tensor* sin, int64_t heads, int64_t kv_heads, bool causal, bool append) {
    return reft::guarded([&] {
        return reft::Attend::apply(*qkv, reft::or_empty(past_k, *qkv), reft::or_empty(past_v, *qkv), *sequences, *cos, *sin,
                                   heads, kv_heads, causal, append);
    });
}
}
