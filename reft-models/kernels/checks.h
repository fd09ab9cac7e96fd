// What libtorch's tensors must be before the kernels, which trust their arguments, see their memory. Everything is
// checked from sizes and from the list of sequences: no check reads a row. Included by `autograd.cpp` alone.
#pragma once

#include <ATen/ATen.h>
#include <ATen/MemoryOverlap.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "instruction_set.h"

namespace reft {
namespace {

using at::Tensor;

template <class T>
constexpr at::ScalarType type_of = at::ScalarType::Undefined;
template <>
constexpr at::ScalarType type_of<float> = at::kFloat;
template <>
constexpr at::ScalarType type_of<bf16> = at::kBFloat16;
template <>
constexpr at::ScalarType type_of<int64_t> = at::kLong;

// The memory of a tensor, once more compared with the type that it is read as.
template <class T>
T* data(const Tensor& x) {
    TORCH_CHECK(x.is_cpu() && x.layout() == at::kStrided && x.is_contiguous() && x.scalar_type() == type_of<T>,
                "a contiguous CPU tensor of ", type_of<T>, " is needed, not ", x.toString());
    return static_cast<T*>(x.data_ptr());
}

void check_dense(const char* name, const Tensor& x, int64_t rank, at::ScalarType type) {
    TORCH_CHECK(x.defined(), name, " is undefined");
    TORCH_CHECK(x.is_cpu() && x.layout() == at::kStrided, name, " must be a dense tensor on the CPU, not ", x.layout(),
                " on ", x.device());
    TORCH_CHECK(!x.is_neg(), name, " must not be a negated view");
    TORCH_CHECK(x.scalar_type() == type, name, " must be ", type, ", not ", x.scalar_type());
    TORCH_CHECK(x.dim() == rank, name, " must have ", rank, " dimensions, not ", x.dim());
}

// States that a gradient may flow to: rows `[N, D]`, f32 or bf16.
void check_states(const char* name, const Tensor& x) {
    TORCH_CHECK(x.defined(), name, " is undefined");
    TORCH_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16, name,
                " must be Float or BFloat16, not ", x.scalar_type());
    check_dense(name, x, 2, x.scalar_type());
}

// A tensor that the kernels know no gradient of. One that is wanted would be missing without a word.
void check_constant(const char* name, const Tensor& x, int64_t rank, at::ScalarType type) {
    check_dense(name, x, rank, type);
    TORCH_CHECK(!(at::GradMode::is_enabled() && x.requires_grad()), name, " requires a gradient, which the kernel has not");
}

void check_rms_norm(const Tensor& x, const Tensor& weight, double eps) {
    check_states("x", x);
    check_constant("weight", weight, 1, x.scalar_type());
    TORCH_CHECK(x.size(1) > 0 && weight.size(0) == x.size(1), "weight has ", weight.size(0), " values, x has rows of ",
                x.size(1));
    TORCH_CHECK(eps >= 0.0, "eps must not be negative, it is ", eps);
}

void check_gated(const Tensor& x, int64_t activation) {
    check_states("x", x);
    TORCH_CHECK(activation == SILU || activation == GELU_TANH, "there is no activation ", activation);
    TORCH_CHECK(x.size(1) % 2 == 0, "x must hold gate and up side by side, but its width ", x.size(1), " is odd");
}

// `packed` [out, in] in oneDNN's layout and, for gradients, `back` [in, out].
void check_packed_linear(const Tensor& x, const Tensor& packed, const Tensor* back, const Tensor* bias) {
    check_dense("x", x, 2, at::kBFloat16);
    int64_t out = packed.size(0), in = packed.size(1);
    TORCH_CHECK(x.size(1) == in, "the weight takes rows of ", in, ", x has rows of ", x.size(1));
    TORCH_CHECK(!back || (back->size(0) == in && back->size(1) == out), "the transposed weight is another one");
    TORCH_CHECK(back || !(at::GradMode::is_enabled() && x.requires_grad()), "x requires a gradient, which needs `back`");
    if (bias) {
        check_constant("bias", *bias, 1, at::kBFloat16);
        TORCH_CHECK(bias->size(0) == out, "the weight gives rows of ", out, ", bias has ", bias->size(0), " values");
    }
}

// A weight [out, in] in panels of this instruction set.
void check_panels(InstructionSet set, const Tensor& packed, int64_t out, int64_t in) {
    check_dense("packed weight", packed, 1, at::kFloat);
    constexpr int64_t most = int64_t(1) << 30;  // so that no product of two sizes overflows
    TORCH_CHECK(out > 0 && out < most && in > 0 && in < most && packed.is_contiguous() &&
                    packed.size(0) == products_of(set).packed_floats(out, in),
                "a packed weight of ", packed.size(0), " values is not [", out, ", ", in, "]");
}

// `packed` [out, in] in panels.
void check_panel_linear(InstructionSet set, const Tensor& x, const Tensor& packed, int64_t out, const Tensor* bias) {
    check_dense("x", x, 2, at::kFloat);
    check_panels(set, packed, out, x.size(1));
    if (!bias) return;
    check_constant("bias", *bias, 1, at::kFloat);
    TORCH_CHECK(bias->size(0) == out, "the weight gives rows of ", out, ", bias has ", bias->size(0), " values");
}

using Range = std::pair<int64_t, int64_t>;  // from, to

bool are_disjoint(std::vector<Range>& ranges) {
    std::sort(ranges.begin(), ranges.end());
    for (size_t i = 1; i < ranges.size(); i++)
        if (ranges[i].first < ranges[i - 1].second) return false;
    return true;
}

// Whether `from .. from + count` lies in `0 .. rows`, whatever the numbers are.
bool lies_within(int64_t from, int64_t count, int64_t rows) {
    return from >= 0 && count >= 0 && count <= rows && from <= rows - count;
}

// Sequences are worked on in parallel: rows that are written belong to one of them.
void check_sequences(const Tensor& sequences, int64_t rows, int64_t past_rows, int64_t ring, bool append) {
    TORCH_CHECK(sequences.size(1) == 4 && sequences.is_contiguous(), "sequences must be contiguous [B, 4], not ",
                sequences.sizes());
    const auto* all = reinterpret_cast<const Sequence*>(data<int64_t>(sequences));
    std::vector<Range> own, cached;
    for (int64_t i = 0; i < sequences.size(0); i++) {
        const Sequence& s = all[i];
        TORCH_CHECK(lies_within(s.row, s.len, rows), "sequence ", i, ": ", s.len, " tokens from row ", s.row,
                    " on do not lie in the ", rows, " rows of the pass");
        own.emplace_back(s.row, s.row + s.len);
        if (s.past == 0 && !append) continue;
        TORCH_CHECK(lies_within(s.past_row, std::min(s.past, ring), past_rows) &&
                        (!append || s.past >= ring || std::min(s.len, ring - s.past) <= past_rows - s.past_row - s.past),
                    "sequence ", i, ": ", s.past, " tokens of the past from row ", s.past_row, " on",
                    append ? " and its new ones" : "", " do not fit into the ", past_rows, " rows of the cache");
        if (append && s.len > 0) cached.emplace_back(s.past_row, s.past_row + std::min(s.past + s.len, ring));
    }
    TORCH_CHECK(are_disjoint(own), "two sequences share rows of the pass");
    TORCH_CHECK(are_disjoint(cached), "two sequences share rows of a cache that grows");
}

// `past_k` and `past_v` are both null or both [rows, K, E].
void check_past(const Tensor& past_k, const Tensor& past_v, int64_t kv_heads, int64_t width, at::ScalarType type,
                bool append) {
    check_constant("past keys", past_k, 3, type);
    check_constant("past values", past_v, 3, type);
    TORCH_CHECK(past_k.sizes() == past_v.sizes(), "past keys are ", past_k.sizes(), ", past values ", past_v.sizes());
    TORCH_CHECK(past_k.size(1) == kv_heads && past_k.size(2) == width, "past keys must be [rows, ", kv_heads, ", ", width,
                "], not ", past_k.sizes());
    if (!append) return;
    TORCH_CHECK(past_k.is_contiguous() && past_v.is_contiguous(), "a cache that grows must be contiguous");
    at::assert_no_overlap(past_k, past_v);
}

// Of `Attention`, what no tensor says.
struct Heads {
    int64_t queries, keys;  // H, K
    bool causal;
    int64_t window;
    int64_t ring;  // rows of a sequence's past in a cache that grows
    float scale;
};

// E, from rows of `columns` that hold H query and twice K key/value heads.
int64_t check_heads(const Heads& heads, int64_t columns) {
    // All in an order that cannot overflow, whatever the numbers are.
    bool counted = heads.queries > 0 && heads.keys > 0 && heads.queries <= columns && heads.keys <= columns;
    int64_t parts = counted ? heads.queries + 2 * heads.keys : 0;
    TORCH_CHECK(parts > 0 && columns % parts == 0, "qkv has rows of ", columns, ", which are not ", heads.queries,
                " query and twice ", heads.keys, " key/value heads of one width");
    TORCH_CHECK(heads.queries % heads.keys == 0, heads.queries, " query heads do not divide among ", heads.keys,
                " key/value heads");
    TORCH_CHECK(heads.window > 0, "a window of ", heads.window, " keys leaves nothing to see");
    TORCH_CHECK(heads.ring == INT64_MAX || heads.ring >= heads.window, "a ring of ", heads.ring,
                " rows does not hold a window of ", heads.window);
    TORCH_CHECK(std::isfinite(heads.scale) && heads.scale > 0, "scores cannot be scaled by ", heads.scale);
    return columns / parts;
}

void check_attention(const Tensor& qkv, const Tensor* past_k, const Tensor* past_v, const Tensor& sequences,
                     const Tensor& cos, const Tensor& sin, const Heads& heads, bool append) {
    check_states("qkv", qkv);
    check_constant("cos", cos, 2, at::kFloat);
    check_constant("sin", sin, 2, at::kFloat);
    check_dense("sequences", sequences, 2, at::kLong);
    int64_t rows = qkv.size(0), width = check_heads(heads, qkv.size(1));
    TORCH_CHECK(cos.sizes() == sin.sizes() && cos.size(0) == rows && cos.size(1) <= width / 2, "cos and sin must be [", rows,
                ", R/2] with at most ", width, " rotated coordinates, not ", cos.sizes(), " and ", sin.sizes());
    TORCH_CHECK(!past_k == !past_v, "past keys and past values come together");
    TORCH_CHECK(append || heads.ring == INT64_MAX, "a past that does not grow is no ring");
    TORCH_CHECK(past_k || !append, "there is no cache that could grow");
    TORCH_CHECK(!append || !at::GradMode::is_enabled(), "a cache cannot grow while gradients are on: wrap the pass in no_grad");
    if (past_k) check_past(*past_k, *past_v, heads.keys, width, qkv.scalar_type(), append);
    check_sequences(sequences, rows, past_k ? past_k->size(0) : 0, heads.ring, append);
}

}  // namespace
}  // namespace reft
