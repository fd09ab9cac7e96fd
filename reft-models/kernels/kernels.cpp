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

template <class A, class T>
void gated(int64_t n, int64_t d, const T* x, T* y) {
#pragma omp parallel for if (n * d > 32768)
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
#pragma omp parallel for if (n * d > 32768)
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

// ---- attention ----
//
// One task is one sequence and one key/value head. Its keys and values are brought into f32 once (rotated, padded with
// zeros to whole vectors), then query rows are handled four at a time, each with exactly the keys it may see.

// Hands out one thread's part of the workspace, from its beginning for each task.
struct Scratch {
    float* used;

    explicit Scratch(const Workspace& workspace)
        : used(workspace.memory + omp_get_thread_num() * workspace.floats_per_thread) {}

    float* take(int64_t floats, bool clear) {
        float* part = used;
        used += floats;
        if (clear) fill_zero(part, used);
        return part;
    }
};

// What one task works on.
template <class T>
struct Task {
    const Attention& a;
    Sequence s;
    int64_t kv;                    // which key/value head
    int64_t keys, columns;         // past + len, and that rounded up
    int64_t width, stride, group;  // E rounded up, row stride of qkv, query heads of this key/value head
    float *k, *kt, *v;             // [keys, width], [E, columns], [keys, width]

    Task(const Attention& a, int64_t index) : a(a), s(a.sequence[index / a.kv_heads]), kv(index % a.kv_heads) {
        keys = s.past + s.len;
        columns = round_up(keys);
        width = round_up(a.width);
        stride = (a.heads + 2 * a.kv_heads) * a.width;
        group = a.heads / a.kv_heads;
    }

    // The row of the past behind this one.
    int64_t next(int64_t slot) const { return slot + 1 == a.ring ? 0 : slot + 1; }

    int64_t key_offset() const { return (a.heads + kv) * a.width; }
    int64_t value_offset() const { return (a.heads + a.kv_heads + kv) * a.width; }
    const float* cos(int64_t row) const { return a.cos + row * (a.rotary / 2); }
    const float* sin(int64_t row) const { return a.sin + row * (a.rotary / 2); }

    void load_keys(const T* qkv, const T* past_k, const T* past_v, Scratch& scratch) {
        k = scratch.take(keys * width, true);
        v = scratch.take(keys * width, true);
        kt = scratch.take(a.width * columns, true);
        // Keys that no token sees stay 0.
        int64_t begin = smaller(first(0), s.past), slot = begin % a.ring;
        for (int64_t j = begin; j < s.past; j++, slot = next(slot)) {
            int64_t from = ((s.past_row + slot) * a.kv_heads + kv) * a.width;
            for (int64_t e = 0; e < a.width; e++) {
                k[j * width + e] = load(past_k + from + e);
                v[j * width + e] = load(past_v + from + e);
            }
        }
        for (int64_t j = 0; j < s.len; j++) {
            const T* row = qkv + (s.row + j) * stride;
            float *key = k + (s.past + j) * width, *value = v + (s.past + j) * width;
            rotate(a.width, a.rotary, cos(s.row + j), sin(s.row + j), 1.0f, row + key_offset(), key);
            for (int64_t e = 0; e < a.width; e++) value[e] = load(row + value_offset() + e);
        }
        for (int64_t j = 0; j < keys; j++)
            for (int64_t e = 0; e < a.width; e++) kt[e * columns + j] = k[j * width + e];
    }

    void append(T* past_k, T* past_v) const {
        int64_t begin = larger(s.past, keys - a.ring), slot = begin % a.ring;
        for (int64_t j = begin; j < keys; j++, slot = next(slot)) {
            int64_t to = ((s.past_row + slot) * a.kv_heads + kv) * a.width;
            for (int64_t e = 0; e < a.width; e++) {
                store(past_k + to + e, k[j * width + e]);
                store(past_v + to + e, v[j * width + e]);
            }
        }
    }

    // Rotated and scaled queries of one head, tokens i .. i + 4 (those beyond the end are 0).
    void load_queries(const T* qkv, int64_t head, int64_t i, float scale, float* q) const {
        fill_zero(q, q + ROWS * width);
        for (int64_t r = 0; r < ROWS && i + r < s.len; r++) {
            int64_t row = s.row + i + r;
            rotate(a.width, a.rotary, cos(row), sin(row), 1.0f, qkv + row * stride + head * a.width, q + r * width);
            for (int64_t e = 0; e < a.width; e++) q[r * width + e] *= scale;
        }
    }

    // Keys that tokens up to i + 3 may see, rounded up.
    int64_t seen(int64_t i) const { return a.causal ? smaller(columns, round_up(s.past + i + ROWS)) : columns; }

    // The first key that token i may see.
    int64_t first(int64_t i) const { return a.causal ? larger(s.past + i + 1 - a.window, int64_t(0)) : 0; }

    // The first key that tokens from i on may see, rounded down.
    int64_t begin(int64_t i) const { return first(i) / LANES * LANES; }

    // p[4, begin .. seen] = softmax(q kT), 0 where a key may not be seen.
    void probabilities(const float* q, int64_t i, float* p) const {
        int64_t from = begin(i);
        product(seen(i) - from, a.width, q, width, kt + from, columns, p + from, columns);
        for (int64_t r = 0; r < ROWS; r++) {
            float* row = p + r * columns;
            int64_t end = a.causal ? smaller(s.past + i + r + 1, keys) : keys;
            // A row beyond the last token sees something, so that its numbers stay finite.
            int64_t start = smaller(first(i + r), end - 1);
            fill_zero(row + from, row + start);
            softmax(end - start, row + start);
            fill_zero(row + end, row + seen(i));
        }
    }

    // One token per sequence, as in decoding: dot products along the rows of the cache, nothing converted in advance.
    bool is_step() const { return s.len == 1; }

    // What each of the three ways takes from a Scratch.
    int64_t step_floats() const { return (3 + 2 * group) * width + group * columns; }
    int64_t forward_floats() const { return 2 * keys * width + (a.width + ROWS) * columns + 2 * ROWS * width; }
    int64_t backward_floats() const { return 4 * keys * width + 2 * (a.width + ROWS) * columns + 3 * ROWS * width; }
};

// The single-token case: each key and value is read once, where it lies, for all query heads of the group.
template <class T>
void attend_step(Task<T>& t, const T* qkv, T* past_k, T* past_v, bool append, T* y, Scratch& scratch) {
    const Attention& a = t.a;
    int64_t row = t.s.row, e = a.width, next = a.kv_heads * e;
    // Where there is no cache, `past_row` is any number.
    int64_t from = (t.s.past > 0 || append ? t.s.past_row : 0) * next + t.kv * e;
    float *own_k = scratch.take(t.width, true), *own_v = scratch.take(t.width, true), *x = scratch.take(t.width, true);
    float *q = scratch.take(t.group * t.width, true), *o = scratch.take(t.group * t.width, true);
    float* p = scratch.take(t.group * t.columns, false);
    rotate(e, a.rotary, t.cos(row), t.sin(row), 1.0f, qkv + row * t.stride + t.key_offset(), own_k);
    widen(e, qkv + row * t.stride + t.value_offset(), own_v);
    if (append)
        for (int64_t i = 0; i < e; i++) {
            store(past_k + from + t.s.past % a.ring * next + i, own_k[i]);
            store(past_v + from + t.s.past % a.ring * next + i, own_v[i]);
        }
    float scale = a.scale;
    int64_t begin = t.first(0);
    for (int64_t g = 0; g < t.group; g++) {
        rotate(e, a.rotary, t.cos(row), t.sin(row), 1.0f, qkv + row * t.stride + (t.kv * t.group + g) * e, q + g * t.width);
        p[g * t.columns + t.s.past] = scale * dot(t.width, q + g * t.width, own_k);
    }
    for (int64_t j = begin, slot = begin % a.ring; j < t.s.past; j++, slot = t.next(slot)) {
        widen(e, past_k + from + slot * next, x);
        for (int64_t g = 0; g < t.group; g++) p[g * t.columns + j] = scale * dot(t.width, q + g * t.width, x);
    }
    for (int64_t g = 0; g < t.group; g++) {
        softmax(t.keys - begin, p + g * t.columns + begin);
        add_scaled(t.width, p[g * t.columns + t.s.past], own_v, o + g * t.width);
    }
    for (int64_t j = begin, slot = begin % a.ring; j < t.s.past; j++, slot = t.next(slot)) {
        widen(e, past_v + from + slot * next, x);
        for (int64_t g = 0; g < t.group; g++) add_scaled(t.width, p[g * t.columns + j], x, o + g * t.width);
    }
    for (int64_t g = 0; g < t.group; g++)
        for (int64_t i = 0; i < e; i++) store(y + (row * a.heads + t.kv * t.group + g) * e + i, o[g * t.width + i]);
}

template <class T>
int64_t scratch_floats(const Attention& a, bool backward) {
    int64_t most = 0;
    for (int64_t sequence = 0; sequence < a.sequences; sequence++) {
        Task<T> t(a, sequence * a.kv_heads);
        int64_t forward = t.is_step() ? t.step_floats() : t.forward_floats();
        most = larger(most, backward ? t.backward_floats() : forward);
    }
    // Whole cache lines, so that no two threads write to one.
    return (most + 15) / 16 * 16;
}

template <class T>
void attention(const Attention& a, const T* qkv, T* past_k, T* past_v, bool append, T* y, const Workspace& workspace) {
    float scale = a.scale;
#pragma omp parallel for schedule(dynamic) num_threads(int(workspace.threads))
    for (int64_t index = 0; index < a.sequences * a.kv_heads; index++) {
        Scratch scratch(workspace);
        Task<T> t(a, index);
        if (t.is_step()) {
            attend_step(t, qkv, past_k, past_v, append, y, scratch);
            continue;
        }
        t.load_keys(qkv, past_k, past_v, scratch);
        if (append) t.append(past_k, past_v);
        float* q = scratch.take(ROWS * t.width, false);
        float* p = scratch.take(ROWS * t.columns, false);
        float* o = scratch.take(ROWS * t.width, false);
        for (int64_t head = t.kv * t.group; head < (t.kv + 1) * t.group; head++)
            for (int64_t i = 0; i < t.s.len; i += ROWS) {
                t.load_queries(qkv, head, i, scale, q);
                t.probabilities(q, i, p);
                int64_t from = t.begin(i), seen = smaller(t.keys, t.seen(i)) - from;
                product(t.width, seen, p + from, t.columns, t.v + from * t.width, t.width, o, t.width);
                for (int64_t r = 0; r < ROWS && i + r < t.s.len; r++) {
                    T* out = y + (t.s.row + i + r) * a.heads * a.width + head * a.width;
                    for (int64_t e = 0; e < a.width; e++) store(out + e, o[r * t.width + e]);
                }
            }
    }
}

// Keeps nothing from the forward pass but qkv: probabilities are cheaper to make again than to read.
template <class T>
void attention_back(const Attention& a, const T* qkv, const T* past_k, const T* past_v, const T* dy, T* dqkv,
                    const Workspace& workspace) {
    float scale = a.scale;
#pragma omp parallel for schedule(dynamic) num_threads(int(workspace.threads))
    for (int64_t index = 0; index < a.sequences * a.kv_heads; index++) {
        Scratch scratch(workspace);
        Task<T> t(a, index);
        t.load_keys(qkv, past_k, past_v, scratch);
        float* vt = scratch.take(a.width * t.columns, true);
        for (int64_t j = 0; j < t.keys; j++)
            for (int64_t e = 0; e < a.width; e++) vt[e * t.columns + j] = t.v[j * t.width + e];
        float *dk = scratch.take(t.keys * t.width, true), *dv = scratch.take(t.keys * t.width, true);
        float *q = scratch.take(ROWS * t.width, false), *dout = scratch.take(ROWS * t.width, false);
        float *dq = scratch.take(ROWS * t.width, false);
        float *p = scratch.take(ROWS * t.columns, false), *dp = scratch.take(ROWS * t.columns, false);
        for (int64_t head = t.kv * t.group; head < (t.kv + 1) * t.group; head++)
            for (int64_t i = 0; i < t.s.len; i += ROWS) {
                int64_t from = t.begin(i), end = smaller(t.keys, t.seen(i)), seen = end - from;
                t.load_queries(qkv, head, i, scale, q);
                t.probabilities(q, i, p);
                fill_zero(dout, dout + ROWS * t.width);
                for (int64_t r = 0; r < ROWS && i + r < t.s.len; r++) {
                    const T* grad = dy + (t.s.row + i + r) * a.heads * a.width + head * a.width;
                    for (int64_t e = 0; e < a.width; e++) dout[r * t.width + e] = load(grad + e);
                }
                product(t.seen(i) - from, a.width, dout, t.width, vt + from, t.columns, dp + from, t.columns);
                add_outer(seen, t.width, p + from, t.columns, dout, t.width, dv + from * t.width);
                for (int64_t r = 0; r < ROWS; r++) {
                    float *row = p + r * t.columns, *grad = dp + r * t.columns, mean = 0;
#pragma omp simd reduction(+ : mean)
                    for (int64_t j = from; j < end; j++) mean += row[j] * grad[j];
                    for (int64_t j = from; j < end; j++) grad[j] = row[j] * (grad[j] - mean);
                }
                add_outer(seen, t.width, dp + from, t.columns, q, t.width, dk + from * t.width);  // q carries the scale
                product(t.width, seen, dp + from, t.columns, t.k + from * t.width, t.width, dq, t.width);
                for (int64_t r = 0; r < ROWS && i + r < t.s.len; r++) {
                    int64_t row = t.s.row + i + r;
                    rotate(a.width, a.rotary, t.cos(row), t.sin(row), -1.0f, dq + r * t.width, q);
                    T* out = dqkv + row * t.stride + head * a.width;
                    for (int64_t e = 0; e < a.width; e++) store(out + e, q[e] * scale);
                }
            }
        for (int64_t j = 0; j < t.s.len; j++) {
            int64_t row = t.s.row + j;
            rotate(a.width, a.rotary, t.cos(row), t.sin(row), -1.0f, dk + (t.s.past + j) * t.width, q);
            T* out = dqkv + row * t.stride;
            for (int64_t e = 0; e < a.width; e++) {
                store(out + t.key_offset() + e, q[e]);
                store(out + t.value_offset() + e, dv[(t.s.past + j) * t.width + e]);
            }
        }
    }
}

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

}  // namespace REFT_SET
}  // namespace reft
