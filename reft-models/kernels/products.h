// Products of f32 rows with a packed weight, included by `kernels.cpp` in a namespace of its instruction set.
//
// A weight [out, in] is packed into panels of PANEL outputs, [in, PANEL] each, the last one filled up with zeros. Every output
// is a sum of chains of DEPTH multiply-adds along `in`, whatever the number of rows and threads: a row alone gives the same bits
// as the row among others.

constexpr int64_t PANEL = 2 * LANES;
// Rows of a full tile: as many accumulators as there are registers for.
constexpr int TALL = LANES == 16 ? 12 : 6;
// Rows and depth of the block of x that is packed at once, so that it stays in the second-level cache.
constexpr int64_t BLOCK = 288, DEPTH = 192;

// Panel rows that are prefetched before they are read: about what a memory access takes, and less than a page.
constexpr int64_t AHEAD = 32;

// c[R, P PANEL] (+)= a[R, k] b[k, P PANEL]: of a the rows are `row` apart and the columns `column`, of b the panels `next`.
// Loops over accumulators are unrolled, which keeps them in registers.
template <int R, int P>
inline void panel_tile(int64_t k, const float* a, int64_t row, int64_t column, const float* b, int64_t next, float* c,
                       int64_t ldc, bool begins) {
    for (int r = 0; r < R; r++)
        for (int v = 0; v < 2 * P; v++) __builtin_prefetch(c + r * ldc + v * LANES, 1);
    Vector sum[R][2 * P];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < 2 * P; v++) sum[r][v] = Vector{};
#pragma GCC unroll 4
    for (int64_t i = 0; i < k; i++) {
        Vector weights[2 * P];
        for (int p = 0; p < P; p++)
            for (int v = 0; v < 2; v++) {
                const float* panel = b + p * next + i * PANEL + v * LANES;
                __builtin_prefetch(panel + AHEAD * PANEL);
                weights[2 * p + v] = at(panel);
            }
#pragma GCC unroll 16
        for (int r = 0; r < R; r++)
#pragma GCC unroll 8
            for (int v = 0; v < 2 * P; v++) sum[r][v] += a[r * row + i * column] * weights[v];
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < 2 * P; v++) {
            float* to = c + r * ldc + v * LANES;
            at(to) = begins ? sum[r][v] : at(static_cast<const float*>(to)) + sum[r][v];
        }
}

// A part of the depth of a product: rows of x and the panels that belong to it.
struct Slice {
    int64_t depth, panel;  // of this slice, and from one panel to the next
    const float* x;        // [rows, ..]
    int64_t ldx;
    const float* tiles;  // full tiles of x, [depth, TALL] each; null where x is read as it lies
    int64_t ldy;
    bool begins;

    // Rows `i .. rows` that make no full tile, against P neighbouring panels.
    template <int P>
    void rest(int64_t i, int64_t rows, const float* b, float* y) const {
        for (; rows - i >= 4; i += 4) few<4, P>(i, b, y);
        if (rows - i >= 2) few<2, P>(i, b, y), i += 2;
        if (rows - i >= 1) few<1, P>(i, b, y);
    }

    // As many panels at once as there are registers for.
    template <int R, int P>
    void few(int64_t i, const float* b, float* y) const {
        constexpr int AT_ONCE = P * R <= 4 ? P : (R <= 4 && P >= 4 / R ? 4 / R : 1);
        for (int p = 0; p < P; p += AT_ONCE)
            panel_tile<R, AT_ONCE>(depth, x + i * ldx, ldx, 1, b + p * panel, panel, y + i * ldy + p * PANEL, ldy, begins);
    }

    // `rows` rows against P neighbouring panels.
    template <int P>
    void run(int64_t rows, const float* b, float* y) const {
        int64_t full = rows / TALL * TALL;
        for (int p = 0; p < P; p++)
            for (int64_t i = 0; i < full; i += TALL) {
                float* to = y + i * ldy + p * PANEL;
                if (tiles)
                    panel_tile<TALL, 1>(depth, tiles + i * depth, 1, TALL, b + p * panel, 0, to, ldy, begins);
                else
                    panel_tile<TALL, 1>(depth, x + i * ldx, ldx, 1, b + p * panel, 0, to, ldy, begins);
            }
        rest<P>(full, rows, b, y);
    }

    // The same against one panel of which only some columns exist.
    void edge(int64_t rows, const float* b, int64_t columns, float* y) const {
        float part[PANEL] = {};
        for (int64_t i = 0; i < rows; i++) {
            for (int64_t j = 0; j < columns && !begins; j++) part[j] = y[i * ldy + j];
            panel_tile<1, 1>(depth, x + i * ldx, ldx, 1, b, 0, part, PANEL, begins);
            for (int64_t j = 0; j < columns; j++) y[i * ldy + j] = part[j];
        }
    }

    // `rows` rows against the panels `from .. to`, the last of which may be the weight's last; `b` and `y` begin with panel 0.
    void panels(int64_t rows, int64_t from, int64_t to, const float* b, float* y) const {
        int64_t j = from, whole = smaller(to, ldy / PANEL);
        for (; j + 4 <= whole; j += 4) run<4>(rows, b + j * panel, y + j * PANEL);
        for (; j < whole; j++) run<1>(rows, b + j * panel, y + j * PANEL);
        if (j < to) edge(rows, b + j * panel, ldy - j * PANEL, y + j * PANEL);
    }
};

// Rows of x in full tiles.
void arrange(int64_t rows, int64_t depth, const float* x, int64_t ldx, float* tiles) {
    for (int64_t i = 0; i + TALL <= rows; i += TALL)
        for (int64_t k = 0; k < depth; k++)
            for (int64_t r = 0; r < TALL; r++) tiles[i * depth + k * TALL + r] = x[(i + r) * ldx + k];
}

// Some rows and some panels of y = x Wᵀ + b.
void product_block(const Product& p, int64_t row, int64_t rows, int64_t panel, int64_t panels, float* tiles) {
    // Few rows are read as they lie, four panels after the other: then the weight is read once and in order.
    bool few = rows < 2 * TALL;
    int64_t at_once = few ? 4 : panels;
    for (int64_t from = panel; from < panel + panels; from += at_once)
        for (int64_t k = 0; k < p.in; k += DEPTH) {
            int64_t depth = smaller(DEPTH, p.in - k);
            const float* x = p.x + row * p.in + k;
            if (!few) arrange(rows, depth, x, p.in, tiles);
            Slice slice = {depth, p.in * PANEL, x, p.in, few ? nullptr : tiles, p.out, k == 0};
            slice.panels(rows, from, smaller(from + at_once, panel + panels), p.packed + k * PANEL, p.y + row * p.out);
        }
    if (!p.bias) return;
    int64_t from = panel * PANEL, to = smaller((panel + panels) * PANEL, p.out);
    for (int64_t i = row; i < row + rows; i++)
        for (int64_t j = from; j < to; j++) p.y[i * p.out + j] += p.bias[j];
}

int64_t panels_of(int64_t out) { return (out + PANEL - 1) / PANEL; }

int64_t packed_floats(int64_t out, int64_t in) { return panels_of(out) * PANEL * in; }

void pack(int64_t out, int64_t in, const float* weight, float* packed) {
#pragma omp parallel for
    for (int64_t panel = 0; panel < panels_of(out); panel++)
        for (int64_t j = 0; j < PANEL; j++) {
            int64_t row = panel * PANEL + j;
            float* to = packed + panel * PANEL * in + j;
            for (int64_t i = 0; i < in; i++) to[i * PANEL] = row < out ? weight[row * in + i] : 0.0f;
        }
}

void unpack(int64_t out, int64_t in, const float* packed, float* weight) {
#pragma omp parallel for
    for (int64_t row = 0; row < out; row++) {
        const float* from = packed + row / PANEL * PANEL * in + row % PANEL;
        for (int64_t i = 0; i < in; i++) weight[row * in + i] = from[i * PANEL];
    }
}

constexpr int64_t PRODUCT_FLOATS = BLOCK * DEPTH;

void product(const Product& p, const Workspace& workspace) {
    int64_t blocks = (p.rows + BLOCK - 1) / BLOCK, panels = panels_of(p.out);
    int64_t parts = larger((workspace.threads * 3 + blocks - 1) / larger(blocks, int64_t(1)), int64_t(1));
    int64_t share = larger((panels + parts - 1) / parts, int64_t(4));
    share = (share + 3) / 4 * 4;
    parts = (panels + share - 1) / share;
#pragma omp parallel for schedule(dynamic) num_threads(int(workspace.threads)) if (p.rows * p.in * p.out > 32768)
    for (int64_t index = 0; index < blocks * parts; index++) {
        int64_t row = index / parts * BLOCK, panel = index % parts * share;
        float* tiles = workspace.memory + omp_get_thread_num() * workspace.floats_per_thread;
        product_block(p, row, smaller(BLOCK, p.rows - row), panel, smaller(share, panels - panel), tiles);
    }
}
