// Scalar and vector arithmetic of the kernels, included by `kernels.cpp` in a namespace of its instruction set. Nothing of
// the C++ standard library (see there).

#ifdef __AVX512F__
constexpr int64_t LANES = 16;
#else
constexpr int64_t LANES = 8;
#endif
typedef float Vector __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

inline float load(const float* x) { return *x; }
inline void store(float* y, float value) { *y = value; }
inline float load(const bf16* x) {
    uint32_t bits = uint32_t(x->bits) << 16;
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value;
}
// Rounds to nearest, ties to even; NaN stays NaN.
inline void store(bf16* y, float value) {
    uint32_t bits;
    __builtin_memcpy(&bits, &value, 4);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    y->bits = uint16_t((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
}

inline float larger(float a, float b) { return a < b ? b : a; }
inline float smaller(float a, float b) { return b < a ? b : a; }
inline int64_t smaller(int64_t a, int64_t b) { return b < a ? b : a; }
inline int64_t larger(int64_t a, int64_t b) { return a < b ? b : a; }

inline void fill_zero(float* from, float* to) { __builtin_memset(from, 0, (to - from) * sizeof(float)); }

// e^x within 2 units in the last place, without branches: 2^n e^r with |r| <= ln 2 / 2. NaN stays NaN.
inline float exponential(float x) {
    x = smaller(larger(x, -87.0f), 88.0f);
    float shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the addition rounds to a whole number, n
    float n = shifted - 12582912.0f;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    // n is the difference of the bit patterns too. No conversion to an integer, which NaN does not have.
    uint32_t bits;
    __builtin_memcpy(&bits, &shifted, 4);
    bits = (bits - 0x4b400000u + 127u) << 23;
    float power;
    __builtin_memcpy(&power, &bits, 4);
    return p * power;
}

inline int64_t round_up(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

constexpr int64_t ROWS = 4;

inline Vector at(const float* x) { return *reinterpret_cast<const Vector*>(x); }
inline Vector& at(float* x) { return *reinterpret_cast<Vector*>(x); }

// c[4, V vectors] = a[4, k] b[k, V vectors].
template <int V>
inline void product_tile(int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc) {
    Vector sum[ROWS][V] = {};
    for (int64_t i = 0; i < k; i++) {
        Vector column[V];
        for (int v = 0; v < V; v++) column[v] = at(b + i * ldb + v * LANES);
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < V; v++) sum[r][v] += a[r * lda + i] * column[v];
    }
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < V; v++) at(c + r * ldc + v * LANES) = sum[r][v];
}

// c[4, n] = a[4, k] b[k, n], n a multiple of LANES.
void product(int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc) {
    // As many accumulators as there are registers for, beside what they are made of.
    constexpr int WIDE = LANES == 16 ? 4 : 2;
    int64_t j = 0;
    for (; j + WIDE * LANES <= n; j += WIDE * LANES) product_tile<WIDE>(k, a, lda, b + j, ldb, c + j, ldc);
    for (; j < n; j += LANES) product_tile<1>(k, a, lda, b + j, ldb, c + j, ldc);
}

// c[n, e] += aT b for a[4, n], b[4, e]; e a multiple of LANES.
void add_outer(int64_t n, int64_t e, const float* a, int64_t lda, const float* b, int64_t ldb, float* c) {
    for (int64_t j = 0; j < e; j += LANES) {
        Vector row[ROWS];
        for (int r = 0; r < ROWS; r++) row[r] = at(b + r * ldb + j);
        for (int64_t i = 0; i < n; i++) {
            Vector sum = at(c + i * e + j);
            for (int r = 0; r < ROWS; r++) sum += a[r * lda + i] * row[r];
            at(c + i * e + j) = sum;
        }
    }
}

template <class T>
inline void widen(int64_t n, const T* __restrict x, float* __restrict y) {
    for (int64_t i = 0; i < n; i++) y[i] = load(x + i);
}

inline float dot(int64_t n, const float* a, const float* b) {
    Vector sum = {};
    for (int64_t i = 0; i < n; i += LANES) sum += at(a + i) * at(b + i);
    float total = 0;
    for (int64_t i = 0; i < LANES; i++) total += sum[i];
    return total;
}

inline void add_scaled(int64_t n, float scale, const float* x, float* y) {
    for (int64_t i = 0; i < n; i += LANES) at(y + i) += scale * at(x + i);
}

inline void softmax(int64_t n, float* x) {
    float most = x[0], sum = 0;
#pragma omp simd reduction(max : most)
    for (int64_t j = 0; j < n; j++) most = larger(most, x[j]);
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; j++) {
        x[j] = exponential(x[j] - most);
        sum += x[j];
    }
    for (int64_t j = 0; j < n; j++) x[j] /= sum;
}

// The first half of the `rotary` first coordinates pairs with their second half; the others stay. `sign` -1 rotates back.
template <class T>
inline void rotate(int64_t width, int64_t rotary, const float* cos, const float* sin, float sign, const T* __restrict x,
                   float* __restrict y) {
    int64_t half = rotary / 2;
    for (int64_t i = 0; i < half; i++) {
        float a = load(x + i), b = load(x + half + i), s = sign * sin[i];
        y[i] = a * cos[i] - b * s;
        y[half + i] = b * cos[i] + a * s;
    }
    for (int64_t i = rotary; i < width; i++) y[i] = load(x + i);
}
