// Compiled once for each instruction set, with REFT_SET naming it. Loops are written so that the compiler vectorises
// them; only the small matrix products of attention say how wide a vector is.
//
// Everything but the two functions at the end has internal linkage, and no header of the C++ standard library is
// included (the build hides them): an inline function or template that two object files emit under one name is kept
// once by the linker, and where that is the copy for wider vectors, other processors meet an illegal instruction.
// Nothing here allocates or throws; threads work in memory that the caller provides.
#include "kernels.h"

extern "C" int omp_get_thread_num(void);

namespace reft {
namespace REFT_SET {
namespace {

#include "primitives.h"
#include "products.h"
#include "gradients.h"

// ---- normalisation ----

template <class T>
void rms_norm(int64_t n, int64_t d, const T* x, const T* w, float eps, T* y, float* inverse_rms) {
#pragma omp parallel for if (n * d > 32768)
    for (int64_t row = 0; row < n; row++) {
        const T* in = x + row * d;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < d; i++) sum += load(in + i) * load(in + i);
        float inverse = 1.0f / __builtin_sqrtf(sum / float(d) + eps);
        if (inverse_rms) inverse_rms[row] = inverse;
        for (int64_t i = 0; i < d; i++) store(y + row * d + i, load(in + i) * inverse * load(w + i));
    }
}

template <class T>
void rms_norm_back(int64_t n, int64_t d, const T* x, const T* w, const float* inverse_rms, const T* dy, T* dx) {
#pragma omp parallel for if (n * d > 32768)
    for (int64_t row = 0; row < n; row++) {
        const T *in = x + row * d, *grad = dy + row * d;
        float inverse = inverse_rms[row], dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t i = 0; i < d; i++) dot += load(grad + i) * load(w + i) * load(in + i);
        float along = dot * inverse * inverse / float(d);
        for (int64_t i = 0; i < d; i++)
            store(dx + row * d + i, inverse * (load(grad + i) * load(w + i) - along * load(in + i)));
    }
}

// ---- gated unit ----
//
// Both activations are g σ(s(g)): SiLU with s(g) = g, GELU's approximation by a hyperbolic tangent with
// s(g) = 2 sqrt(2/π) (g + 0.044715 g^3), since (1 + tanh u) / 2 = σ(2 u).

struct Silu {
    static float inner(float g) { return g; }
    static float slope(float) { return 1.0f; }
};

struct GeluTanh {
    static constexpr float twice = 1.5957691216f, cubic = 0.044715f;
    static float inner(float g) { return twice * (g + cubic * g * g * g); }
    static float slope(float g) { return twice * (1.0f + 3.0f * cubic * g * g); }
};

// Numbers from which a second thread pays: an exponential each.
constexpr int64_t SHARED = 8192;

template <class A, class T>
void gated(int64_t n, int64_t d, const T* x, T* y) {
#pragma omp parallel for if (n * d > SHARED)
    for (int64_t row = 0; row < n; row++) {
        const T* __restrict gate = x + row * 2 * d;
        const T* __restrict up = gate + d;
        T* __restrict out = y + row * d;
#pragma omp simd
        for (int64_t i = 0; i < d; i++) {
            float g = load(gate + i);
            store(out + i, g / (1.0f + exponential(-A::inner(g))) * load(up + i));
        }
    }
}

template <class A, class T>
void gated_back(int64_t n, int64_t d, const T* x, const T* dy, T* dx) {
#pragma omp parallel for if (n * d > SHARED)
    for (int64_t row = 0; row < n; row++) {
        const T* __restrict gate = x + row * 2 * d;
        const T* __restrict up = gate + d;
        const T* __restrict grad = dy + row * d;
        T* __restrict dgate = dx + row * 2 * d;
        T* __restrict dup = dgate + d;
#pragma omp simd
        for (int64_t i = 0; i < d; i++) {
            float g = load(gate + i), s = 1.0f / (1.0f + exponential(-A::inner(g))), h = load(grad + i);
            store(dgate + i, h * load(up + i) * s * (1.0f + A::slope(g) * g * (1.0f - s)));
            store(dup + i, h * g * s);
        }
    }
}

#include "attention.h"

template <class T>
constexpr Kernels<T> table = {rms_norm<T>,
                              rms_norm_back<T>,
                              {{gated<Silu, T>, gated_back<Silu, T>}, {gated<GeluTanh, T>, gated_back<GeluTanh, T>}},
                              scratch_floats<T>,
                              attention<T>,
                              attention_back<T>};

}  // namespace

const Kernels<float>& f32() { return table<float>; }
const Kernels<bf16>& b16() { return table<bf16>; }

const Products& products() {
    static constexpr Products all = {packed_floats, PRODUCT_FLOATS, pack, unpack, product, turned_floats, gradient};
    return all;
}

}  // namespace REFT_SET
}  // namespace reft
