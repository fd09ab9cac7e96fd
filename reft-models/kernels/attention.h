// Attention, included by `kernels.cpp` in a namespace of its instruction set.
//
// One task is one sequence and one key/value head. Its keys and values are brought into f32 once (rotated, padded with
// zeros to whole vectors), then query rows are handled four at a time, each with exactly the keys it may see. Where there are
// more threads than tasks would keep busy, they share the query rows of all tasks instead.

// Keys that a step handles together.
constexpr int64_t KEYS = LANES;

// Hands out memory from its beginning on.
struct Scratch {
    float* used;

    explicit Scratch(float* memory) : used(memory) {}

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
    int64_t keys, columns;         // past + len, and that rounded up to whole panels
    int64_t width, stride, group;  // E rounded up, row stride of qkv, query heads of this key/value head
    float *k, *kt, *v;             // [keys, width], panels [E, PANEL] of keys, [keys, width]

    Task(const Attention& a, int64_t index) : a(a), s(a.sequence[index / a.kv_heads]), kv(index % a.kv_heads) {
        keys = s.past + s.len;
        columns = (keys + PANEL - 1) / PANEL * PANEL;
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

    // Memory of `k`, `kt` and `v`.
    void place(Scratch scratch) {
        k = scratch.take(keys * width, false);
        v = scratch.take(keys * width, false);
        kt = scratch.take(a.width * columns, false);
    }

    void load_keys(const T* qkv, const T* past_k, const T* past_v) {
        fill_zero(k, kt + a.width * columns);
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
        to_panels(k, kt);
    }

    // Rows [keys, width] to panels [E, PANEL] of rows.
    void to_panels(const float* rows, float* panels) const {
        for (int64_t j = 0; j < keys; j++) {
            float* to = panels + j / PANEL * PANEL * a.width + j % PANEL;
            for (int64_t e = 0; e < a.width; e++) to[e * PANEL] = rows[j * width + e];
        }
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
    int64_t seen(int64_t i) const {
        return a.causal ? smaller(columns, (s.past + i + ROWS + PANEL - 1) / PANEL * PANEL) : columns;
    }

    // The first key that token i may see.
    int64_t first(int64_t i) const { return a.causal ? larger(s.past + i + 1 - a.window, int64_t(0)) : 0; }

    // The first key that tokens from i on may see, rounded down.
    int64_t begin(int64_t i) const { return first(i) / PANEL * PANEL; }

    // c[4, begin .. seen] = x[4, E] times the panels of keys that tokens i .. i + 4 may see.
    void products(const float* x, int64_t i, const float* panels, float* c) const {
        for (int64_t j = begin(i); j < seen(i); j += PANEL)
            panel_tile<ROWS, 1>(a.width, x, width, 1, panels + j * a.width, 0, c + j, columns, true);
    }

    // p[4, begin .. seen] = softmax(q kT), 0 where a key may not be seen.
    void probabilities(const float* q, int64_t i, float* p) const {
        int64_t from = begin(i);
        products(q, i, kt, p);
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

    // What a step, `place`, `attend_rows` and the backward pass take from a Scratch.
    int64_t step_floats() const { return (2 + KEYS + 2 * group) * width + group * columns; }
    int64_t kept_floats() const { return 2 * keys * width + a.width * columns; }
    int64_t rows_floats() const { return ROWS * (columns + 2 * width); }
    int64_t backward_floats() const { return 4 * keys * width + 2 * (a.width + ROWS) * columns + 3 * ROWS * width; }
};

// scores[g, j] = scale q[g]·x[j] for KEYS keys x [KEYS, width]: each product is summed in lanes and the lanes one after the other, as
// `dot` does, for all keys at once.
inline void score_keys(int64_t group, int64_t width, float scale, const float* q, const float* x, float* scores, int64_t ld) {
    alignas(64) float lanes[KEYS * LANES], turned[KEYS * LANES];
    for (int64_t g = 0; g < group; g++) {
        for (int64_t j = 0; j < KEYS; j++) {
            Vector sum = {};
            for (int64_t i = 0; i < width; i += LANES) sum += at(q + g * width + i) * at(x + j * width + i);
            at(lanes + j * LANES) = sum;
        }
        transpose(KEYS, LANES, lanes, LANES, turned, KEYS);
        Vector total = {};
        for (int64_t lane = 0; lane < LANES; lane++) total += at(turned + lane * KEYS);
        at(scores + g * ld) = scale * total;
    }
}

// o[g] += p[g, j] x[j] for `count` keys x [count, width], in the order of the keys.
inline void add_values(int64_t count, int64_t group, int64_t width, const float* p, int64_t ld, const float* x, float* o) {
    for (int64_t i = 0; i < width; i += LANES)
        for (int64_t g = 0; g < group; g++) {
            Vector sum = at(o + g * width + i);
            for (int64_t j = 0; j < count; j++) sum += p[g * ld + j] * at(x + j * width + i);
            at(o + g * width + i) = sum;
        }
}

// The single-token case: each key and value is read once, where it lies, for all query heads of the group.
template <class T>
void attend_step(Task<T>& t, const T* qkv, T* past_k, T* past_v, bool append, T* y, Scratch& scratch) {
    const Attention& a = t.a;
    int64_t row = t.s.row, e = a.width, next = a.kv_heads * e;
    // Where there is no cache, `past_row` is any number.
    int64_t from = (t.s.past > 0 || append ? t.s.past_row : 0) * next + t.kv * e;
    float *own_k = scratch.take(t.width, true), *own_v = scratch.take(t.width, true);
    float* x = scratch.take(KEYS * t.width, true);
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
    // Rows of the cache lie apart, which hides from the processor which one comes next.
    auto load_rows = [&](int64_t count, const T* past, int64_t& slot) {
        for (int64_t r = 0; r < count; r++, slot = t.next(slot)) {
            const T* past_row = past + from + slot * next;
            for (int64_t i = 0; i < e; i += 64 / int64_t(sizeof(T))) __builtin_prefetch(past_row + KEYS * next + i);
            widen(e, past_row, x + r * t.width);
        }
    };
    for (int64_t g = 0; g < t.group; g++) {
        rotate(e, a.rotary, t.cos(row), t.sin(row), 1.0f, qkv + row * t.stride + (t.kv * t.group + g) * e, q + g * t.width);
        p[g * t.columns + t.s.past] = scale * dot(t.width, q + g * t.width, own_k);
    }
    for (int64_t j = begin, slot = begin % a.ring; j < t.s.past;) {
        int64_t count = smaller(KEYS, t.s.past - j);
        load_rows(count, past_k, slot);
        if (count == KEYS)
            score_keys(t.group, t.width, scale, q, x, p + j, t.columns);
        else
            for (int64_t g = 0; g < t.group; g++)
                for (int64_t r = 0; r < count; r++)
                    p[g * t.columns + j + r] = scale * dot(t.width, q + g * t.width, x + r * t.width);
        j += count;
    }
    for (int64_t g = 0; g < t.group; g++) {
        softmax(t.keys - begin, p + g * t.columns + begin);
        add_scaled(t.width, p[g * t.columns + t.s.past], own_v, o + g * t.width);
    }
    for (int64_t j = begin, slot = begin % a.ring; j < t.s.past;) {
        int64_t count = smaller(KEYS, t.s.past - j);
        load_rows(count, past_v, slot);
        add_values(count, t.group, t.width, p + j, t.columns, x, o);
        j += count;
    }
    for (int64_t g = 0; g < t.group; g++)
        for (int64_t i = 0; i < e; i++) store(y + (row * a.heads + t.kv * t.group + g) * e + i, o[g * t.width + i]);
}

// Tokens i .. end of one head, four at a time.
template <class T>
void attend_rows(const Task<T>& t, const T* qkv, int64_t head, int64_t i, int64_t end, T* y, Scratch scratch) {
    const Attention& a = t.a;
    float *q = scratch.take(ROWS * t.width, false), *o = scratch.take(ROWS * t.width, false);
    float* p = scratch.take(ROWS * t.columns, false);
    for (; i < end; i += ROWS) {
        t.load_queries(qkv, head, i, a.scale, q);
        t.probabilities(q, i, p);
        int64_t from = t.begin(i), seen = smaller(t.keys, t.seen(i)) - from;
        product(t.width, seen, p + from, t.columns, t.v + from * t.width, t.width, o, t.width);
        for (int64_t r = 0; r < ROWS && i + r < t.s.len; r++) {
            T* out = y + (t.s.row + i + r) * a.heads * a.width + head * a.width;
            for (int64_t e = 0; e < a.width; e++) store(out + e, o[r * t.width + e]);
        }
    }
}

// Whether threads share the query rows of all tasks.
inline bool share_rows(const Attention& a, int64_t threads) {
    return threads > 1 && a.sequences * a.kv_heads < 2 * threads;
}

// The most that any task takes.
template <class T>
int64_t most_floats(const Attention& a, int64_t (*of)(const Task<T>&)) {
    int64_t most = 0;
    for (int64_t sequence = 0; sequence < a.sequences; sequence++)
        most = larger(most, of(Task<T>(a, sequence * a.kv_heads)));
    // Whole cache lines, so that no two threads write to one.
    return (most + 15) / 16 * 16;
}

template <class T>
int64_t kept_floats(const Attention& a) {
    return most_floats<T>(a, [](const Task<T>& t) { return t.is_step() ? 0 : t.kept_floats(); });
}

template <class T>
int64_t own_floats(const Attention& a) {
    return most_floats<T>(a, [](const Task<T>& t) { return t.is_step() ? t.step_floats() : t.rows_floats(); });
}

template <class T>
int64_t scratch_floats(const Attention& a, int64_t threads, bool backward) {
    if (backward) return most_floats<T>(a, [](const Task<T>& t) { return t.backward_floats(); });
    // Keys of all tasks, of which there are fewer than twice the threads, or of the thread's own.
    return own_floats<T>(a) + (share_rows(a, threads) ? 2 : 1) * kept_floats<T>(a);
}

// The first half of a task: all of it if it is a step.
template <class T>
void begin_task(Task<T>& t, const T* qkv, T* past_k, T* past_v, bool append, T* y, Scratch own, float* kept) {
    if (t.is_step()) {
        attend_step(t, qkv, past_k, past_v, append, y, own);
        return;
    }
    t.place(Scratch(kept));
    t.load_keys(qkv, past_k, past_v);
    if (append) t.append(past_k, past_v);
}

// Tokens of a unit of work where threads share the rows of all tasks.
constexpr int64_t SHARED_ROWS = 32;

template <class T>
void attention(const Attention& a, const T* qkv, T* past_k, T* past_v, bool append, T* y, const Workspace& workspace) {
    int64_t tasks = a.sequences * a.kv_heads, kept = kept_floats<T>(a), own = own_floats<T>(a), longest = 0;
    float* own_memory = workspace.memory;
    float* kept_memory = workspace.memory + workspace.threads * own;
    if (!share_rows(a, workspace.threads)) {
#pragma omp parallel for schedule(dynamic) num_threads(int(workspace.threads))
        for (int64_t index = 0; index < tasks; index++) {
            Task<T> t(a, index);
            Scratch scratch(own_memory + omp_get_thread_num() * own);
            begin_task(t, qkv, past_k, past_v, append, y, scratch, kept_memory + omp_get_thread_num() * kept);
            for (int64_t head = t.kv * t.group; head < (t.kv + 1) * t.group && !t.is_step(); head++)
                attend_rows(t, qkv, head, 0, t.s.len, y, scratch);
        }
        return;
    }
    for (int64_t sequence = 0; sequence < a.sequences; sequence++) longest = larger(longest, a.sequence[sequence].len);
    int64_t parts = (longest + SHARED_ROWS - 1) / SHARED_ROWS;
#pragma omp parallel num_threads(int(workspace.threads)) if (longest > 1 || tasks > 1)
    {
        Scratch scratch(own_memory + omp_get_thread_num() * own);
#pragma omp for schedule(dynamic)
        for (int64_t index = 0; index < tasks; index++) {
            Task<T> t(a, index);
            begin_task(t, qkv, past_k, past_v, append, y, scratch, kept_memory + index * kept);
        }
#pragma omp for schedule(dynamic)
        for (int64_t unit = 0; unit < (longest > 1 ? a.sequences * a.heads * parts : 0); unit++) {
            // The last tokens see most.
            int64_t head = unit % a.heads, sequence = unit / a.heads % a.sequences;
            int64_t i = (parts - 1 - unit / (a.heads * a.sequences)) * SHARED_ROWS, index = head / (a.heads / a.kv_heads);
            Task<T> t(a, sequence * a.kv_heads + index);
            if (t.is_step() || i >= t.s.len) continue;
            t.place(Scratch(kept_memory + (sequence * a.kv_heads + index) * kept));
            attend_rows(t, qkv, head, i, smaller(i + SHARED_ROWS, t.s.len), y, scratch);
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
        Scratch scratch(workspace.memory + omp_get_thread_num() * workspace.floats_per_thread);
        Task<T> t(a, index);
        t.place(scratch);
        scratch.take(t.kept_floats(), false);
        t.load_keys(qkv, past_k, past_v);
        float* vt = scratch.take(a.width * t.columns, true);
        t.to_panels(t.v, vt);
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
                t.products(dout, i, vt, dp);
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

