// Gradients of products with a packed weight, included by `kernels.cpp` in a namespace of its instruction set.
//
// dx = dy W is computed as dxᵀ = Wᵀ dyᵀ: inputs of the weight take the place of a product's rows, rows of dy that of its panels.
// So the forward pass's own panels serve the backward pass. Every gradient is a sum of chains of DEPTH multiply-adds along
// `out`, as it would be in a product with the packed transpose: the same bits.

// Inputs of the weight at most that a thread takes at once: as many as there is room for in the workspace of a product.
constexpr int64_t STRIP = DEPTH;

static_assert(DEPTH % PANEL == 0 && BLOCK % PANEL == 0, "blocks are whole panels");
static_assert(STRIP % TALL == 0, "strips are whole tiles");

constexpr int64_t SIDE = 8;

#ifdef __has_builtin
#if __has_builtin(__builtin_shufflevector)
#define REFT_SHUFFLES
#endif
#endif

// to[8, 8] = from[8, 8] transposed.
inline void transpose_square(const float* from, int64_t ld_from, float* to, int64_t ld_to) {
#ifdef REFT_SHUFFLES
    typedef float Eight __attribute__((vector_size(SIDE * 4), aligned(4), may_alias));
    Eight x[SIDE], y[SIDE];
    for (int i = 0; i < SIDE; i++) x[i] = *reinterpret_cast<const Eight*>(from + i * ld_from);
    // Pairs of rows, pairs of pairs, halves.
    for (int i = 0; i < SIDE; i += 2) {
        y[i] = __builtin_shufflevector(x[i], x[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        y[i + 1] = __builtin_shufflevector(x[i], x[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < SIDE; i += 4)
        for (int j = i; j < i + 2; j++) {
            x[j] = __builtin_shufflevector(y[j], y[j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            x[j + 2] = __builtin_shufflevector(y[j], y[j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int i = 0; i < SIDE / 2; i++) {
        *reinterpret_cast<Eight*>(to + i * ld_to) = __builtin_shufflevector(x[i], x[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        *reinterpret_cast<Eight*>(to + (i + 4) * ld_to) =
            __builtin_shufflevector(x[i], x[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
#else
    for (int64_t j = 0; j < SIDE; j++)
        for (int64_t i = 0; i < SIDE; i++) to[j * ld_to + i] = from[i * ld_from + j];
#endif
}

// to[columns, rows] = from[rows, columns].
void transpose(int64_t rows, int64_t columns, const float* from, int64_t ld_from, float* to, int64_t ld_to) {
    int64_t whole_rows = rows / SIDE * SIDE, whole_columns = columns / SIDE * SIDE;
    for (int64_t column = 0; column < whole_columns; column += SIDE)
        for (int64_t row = 0; row < whole_rows; row += SIDE)
            transpose_square(from + row * ld_from + column, ld_from, to + column * ld_to + row, ld_to);
    for (int64_t column = 0; column < columns; column++)
        for (int64_t row = column < whole_columns ? whole_rows : 0; row < rows; row++)
            to[column * ld_to + row] = from[row * ld_from + column];
}

// c[R, PANEL] (+)= w[R, depth] dy[depth, PANEL]: w begins in a panel of the weight, the next one lies `next` further on.
template <int R>
inline void gradient_tile(int64_t depth, const float* w, int64_t next, const float* dy, float* c, bool begins) {
    Vector sum[R][2];
    for (int r = 0; r < R; r++) sum[r][0] = sum[r][1] = Vector{};
    for (int64_t from = 0; from < depth; from += PANEL, w += next) {
        int64_t outputs = smaller(PANEL, depth - from);
#pragma GCC unroll 4
        for (int64_t j = 0; j < outputs; j++, dy += PANEL) {
            Vector low = at(dy), high = at(dy + LANES);
            for (int r = 0; r < R; r++) sum[r][0] += w[r * PANEL + j] * low, sum[r][1] += w[r * PANEL + j] * high;
        }
    }
    for (int r = 0; r < R; r++)
        for (int v = 0; v < 2; v++) {
            float* to = c + r * BLOCK + v * LANES;
            at(to) = begins ? sum[r][v] : at(static_cast<const float*>(to)) + sum[r][v];
        }
}

// The inputs `from .. to` of the rows `row .. row + rows` of dx; c [STRIP, BLOCK] is the workspace.
void gradient_block(const ProductGradient& p, int64_t row, int64_t rows, int64_t from, int64_t to, float* c) {
    int64_t next = p.in * PANEL;
    for (int64_t k = 0; k < p.out; k += DEPTH) {
        int64_t depth = smaller(DEPTH, p.out - k);
        for (int64_t panel = 0; panel < panels_of(rows); panel++) {
            const float* dy = p.turned + ((row / PANEL + panel) * p.out + k) * PANEL;
            const float* w = p.packed + k / PANEL * next + from * PANEL;
            float* sums = c + panel * PANEL;
            int64_t input = from;
            for (; input + TALL <= to; input += TALL, w += TALL * PANEL, sums += TALL * BLOCK)
                gradient_tile<TALL>(depth, w, next, dy, sums, k == 0);
            for (; input < to; input++, w += PANEL, sums += BLOCK) gradient_tile<1>(depth, w, next, dy, sums, k == 0);
        }
    }
    transpose(to - from, rows, c, BLOCK, p.dx + row * p.in + from, p.in);
}

// Floats of dyᵀ in panels of rows, [out, PANEL] each.
int64_t turned_floats(int64_t rows, int64_t out) { return panels_of(rows) * PANEL * out; }

void gradient(const ProductGradient& p, const Workspace& workspace) {
#pragma omp parallel for num_threads(int(workspace.threads)) if (p.rows * p.in * p.out > 32768)
    for (int64_t panel = 0; panel < panels_of(p.rows); panel++) {
        int64_t row = panel * PANEL, rows = smaller(PANEL, p.rows - row);
        float* to = p.turned + row * p.out;
        if (rows < PANEL) fill_zero(to, to + PANEL * p.out);
        transpose(rows, p.out, p.dy + row * p.out, p.out, to, PANEL);
    }
    int64_t blocks = (p.rows + BLOCK - 1) / BLOCK;
    int64_t share = p.in * blocks / (workspace.threads * 3) / TALL * TALL;
    int64_t strip = larger(smaller(share, STRIP), int64_t(TALL)), strips = (p.in + strip - 1) / strip;
#pragma omp parallel for schedule(dynamic) num_threads(int(workspace.threads)) if (p.rows * p.in * p.out > 32768)
    for (int64_t index = 0; index < blocks * strips; index++) {
        int64_t row = index / strips * BLOCK, from = index % strips * strip;
        float* c = workspace.memory + omp_get_thread_num() * workspace.floats_per_thread;
        gradient_block(p, row, smaller(BLOCK, p.rows - row), from, smaller(from + strip, p.in), c);
    }
}
