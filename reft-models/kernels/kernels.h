// What the CPU kernels offer: plain functions on raw memory, for f32 and bf16, arithmetic in f32.
//
// `kernels.cpp` is compiled once for each instruction set, `instruction_set.cpp` picks one when the program starts, and
// `autograd.cpp` gives them to libtorch. They trust their arguments: `checks.h` is what stands before them. Matrices are
// row-major. C headers only (see `kernels.cpp`).
#pragma once

#include <stdint.h>

namespace reft {

struct bf16 {
    uint16_t bits;
};

// A sequence of one pass: `len` tokens from row `row` on, after `past` tokens whose keys and values lie in the rows of
// another buffer from `past_row` on.
struct Sequence {
    int64_t row, len, past_row, past;
};

struct Attention {
    int64_t heads, kv_heads, width;  // H, K, E
    int64_t rotary;                  // R, even: the first R of a head's E coordinates are rotated
    int64_t sequences;
    const Sequence* sequence;
    const float* cos;  // [N, R/2], by row
    const float* sin;
    bool causal;     // or every token sees its whole sequence
    int64_t window;  // causal: a token sees at most so many keys, its own the last of them
    int64_t ring;    // the past's token j lies in row past_row + j % ring
    float scale;     // of the products of queries and keys
};

// Activations of gated units.
constexpr int64_t SILU = 0, GELU_TANH = 1;

// Memory that the threads of a kernel work in, one part each.
struct Workspace {
    int64_t threads;  // at most so many take part
    int64_t floats_per_thread;
    float* memory;  // [threads, floats_per_thread]
};

// y = x Wᵀ + b of f32 rows x [rows, in], y [rows, out]; W is packed, b [out] or null.
struct Product {
    int64_t rows, in, out;
    const float *x, *packed, *bias;
    float* y;
};

// dx = dy W of f32 rows dy [rows, out], dx [rows, in]; W [out, in] is packed. `turned` has room for dy in another order.
struct ProductGradient {
    int64_t rows, in, out;
    const float *dy, *packed;
    float *dx, *turned;
};

// Products with weights in an arrangement of the instruction set's own.
struct Products {
    // Floats of a packed weight [out, in], and what a thread of `product` and of `gradient` needs of the workspace.
    int64_t (*packed_floats)(int64_t out, int64_t in);
    int64_t scratch_floats;
    void (*pack)(int64_t out, int64_t in, const float* weight, float* packed);
    void (*unpack)(int64_t out, int64_t in, const float* packed, float* weight);
    void (*product)(const Product& p, const Workspace& workspace);
    int64_t (*turned_floats)(int64_t rows, int64_t out);
    void (*gradient)(const ProductGradient& p, const Workspace& workspace);
};

// `T` is the type of the model's weights and hidden states.
template <class T>
struct Kernels {
    // y = x / rms(x) * w, and 1 / rms(x) for the backward pass. x, y [n, d], w [d], inverse_rms [n] or null.
    void (*rms_norm)(int64_t n, int64_t d, const T* x, const T* w, float eps, T* y, float* inverse_rms);
    // Gradient of x from that of y.
    void (*rms_norm_back)(int64_t n, int64_t d, const T* x, const T* w, const float* inverse_rms, const T* dy, T* dx);

    // y = act(gate) * up, with gate and up side by side in x [n, 2 d]. y [n, d]. For each activation.
    struct {
        void (*forward)(int64_t n, int64_t d, const T* x, T* y);
        // Gradient of x from that of y.
        void (*back)(int64_t n, int64_t d, const T* x, const T* dy, T* dx);
    } gated[2];

    // What each of so many threads of `attention` or of `attention_back` needs of the workspace.
    int64_t (*scratch_floats)(const Attention& a, int64_t threads, bool backward);
    // Attention of the rows of qkv [N, (H + 2K) E], rotated here; past keys are rotated already. Keys and values
    // of the past are rows [K E] each. With `append` the new keys and values are written behind the past. y [N, H E].
    void (*attention)(const Attention& a, const T* qkv, T* past_k, T* past_v, bool append, T* y,
                      const Workspace& workspace);
    // Gradient of qkv from that of y; the past is constant.
    void (*attention_back)(const Attention& a, const T* qkv, const T* past_k, const T* past_v, const T* dy, T* dqkv,
                           const Workspace& workspace);
};

}  // namespace reft
