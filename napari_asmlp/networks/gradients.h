// What compiled training computes with, beside chunks.h: rows, slopes, and products over tokens.
#pragma once
#include "chunks.h"

namespace {

// Polynomials of each s, the highest power first
template <int COUNT, int TERMS>
void polynomial(Vector (&sum)[COUNT], const float (&terms)[TERMS], const Vector (&s)[COUNT]) {
    for (int v = 0; v < COUNT; ++v) sum[v] = Vector{} + terms[0];
    for (int k = 1; k < TERMS; ++k)
        for (int v = 0; v < COUNT; ++v) sum[v] = sum[v] * s[v] + terms[k];
}

// Slope of GELU, and, unless it is not wanted, GELU in place
template <class Number, bool VALUE = true>
void gelu_slope(float* x, float* slope, int n) {
    using M = Maths<Number>;
    constexpr int AT_ONCE = 2;  // chains of sums that do not wait for each other
    for (int t = 0; t < n; t += AT_ONCE * LANES) {
        Vector value[AT_ONCE], s[AT_ONCE], down[AT_ONCE], less[AT_ONCE];
        const Vector zero = {}, one = zero + 1.0f, last = zero + M::END;
        for (int v = 0; v < AT_ONCE; ++v) {
            value[v] = *reinterpret_cast<const Vector*>(x + t + v * LANES);
            Vector size = value[v] < zero ? -value[v] : value[v];
            s[v] = (size < last ? size : last) * (2 / M::END) - 1.0f;
        }
        polynomial(down, M::SLOPE, s);
        if (VALUE) polynomial(less, M::H, s);
        for (int v = 0; v < AT_ONCE; ++v) {
            Vector up = value[v] < zero ? zero : value[v];
            if (VALUE) *reinterpret_cast<Vector*>(x + t + v * LANES) = up - less[v];
            Vector& out = *reinterpret_cast<Vector*>(slope + t + v * LANES);
            out = value[v] < zero ? down[v] : one - down[v];
        }
    }
}

// Gradient of `normalise`, in place: of what came out, with the scale it was multiplied by
void unnormalise(float* gradient, const float* normal, const float* scale, int64_t channels,
                 bool centred) {
    float mean[CHUNK] = {}, along[CHUNK] = {};
    for (int64_t c = 0; c < channels; ++c)
        for (int t = 0; t < CHUNK; ++t) {
            float g = gradient[c * CHUNK + t];
            mean[t] += g;
            along[t] += g * normal[c * CHUNK + t];
        }
    for (int t = 0; t < CHUNK; ++t) {
        mean[t] = centred ? 0 : mean[t] / channels;
        along[t] /= channels;
    }
    for (int64_t c = 0; c < channels; ++c)
        for (int t = 0; t < CHUNK; ++t) {
            int64_t i = c * CHUNK + t;
            gradient[i] = scale[t] * (gradient[i] - mean[t] - normal[i] * along[t]);
        }
}

template <class Number>
constexpr bool PAIRS = std::is_same<typename Maths<Number>::Operand, uint32_t>::value;

// What products over tokens read: (C, CHUNK), whose 32 bits are a number, or a pair of tokens
template <class Number>
using Row = typename std::conditional<PAIRS<Number>, half, float>::type;

// Rows as operands of a product over channels
const float* operands(float*, const float* rows, int64_t) { return rows; }
const uint32_t* operands(uint32_t* out, const half* rows, int64_t channels) {
    clear_rest(out, channels);
    for (int64_t c = 0; c < channels; c += 2) {
        const half *even = rows + c * CHUNK, *odd = even + CHUNK;
        uint32_t* pair = out + c / 2 * CHUNK;
        if (c + 1 < channels)
            for (int t = 0; t < CHUNK; ++t) pair[t] = even[t] | uint32_t(odd[t]) << 16;
        else
            for (int t = 0; t < CHUNK; ++t) pair[t] = even[t];
    }
    return out;
}

// (C, CHUNK) as products read it: what it was made of itself, or that rounded
template <class R>
class Rounded {
   public:
    void take(const std::vector<float>& values, int64_t channels) {
        if constexpr (std::is_same<R, float>::value) {
            at_ = values.data();
        } else {
            const size_t size = (padded(channels) + SIDE) * CHUNK;
            if (room_.size() < size) room_.resize(size);
            store(room_.data(), values.data(), int(channels * CHUNK));
            at_ = room_.data();
        }
    }

    const R* data() const { return at_; }

   private:
    std::vector<R> room_;
    const R* at_ = nullptr;
};

void copy(float* out, const float* in, int n) { store(out, in, n); }
void copy(float* out, const half* in, int n) { load(out, in, n); }

void add(float* sum, const float* more, int n) {
    for (int t = 0; t < n; ++t) sum[t] += more[t];
}

#if defined(WIDENS)
void copy(half* out, const half* in, int n) {  // a call of memcpy for each row costs more
    for (int t = 0; t < n; t += 32) {
        __mmask32 lanes = n - t < 32 ? (1u << (n - t)) - 1 : ~0u;
        _mm512_mask_storeu_epi16(out + t, lanes, _mm512_maskz_loadu_epi16(lanes, in + t));
    }
}

void add(float* sum, const half* more, int n) {
    for (int t = 0; t < n; t += 16) {
        __mmask16 lanes = first_lanes(n - t);
        __m512 total = _mm512_maskz_loadu_ps(lanes, sum + t) + widened(more + t, lanes);
        _mm512_mask_storeu_ps(sum + t, lanes, total);
    }
}
#else
void copy(half* out, const half* in, int n) { std::memcpy(out, in, 2 * n); }

void add(float* sum, const half* more, int n) {
    float widened[CHUNK];
    load(widened, more, n);
    add(sum, widened, n);
}
#endif

// Numbers that alternate, apart and together
void load_pairs(float* even, float* odd, const float* in, int n) {
    for (int t = 0; t < n; ++t) even[t] = in[2 * t], odd[t] = in[2 * t + 1];
}
void store_pairs(float* out, const float* even, const float* odd, int n) {
    for (int t = 0; t < n; ++t) out[2 * t] = even[t], out[2 * t + 1] = odd[t];
}
#if defined(WIDENS)
void load_pairs(float* even, float* odd, const half* in, int n) {
    for (int t = 0; t < n; t += 16) {
        __mmask16 lanes = first_lanes(n - t);
        __m512i both = _mm512_maskz_loadu_epi32(lanes, in + 2 * t);
        _mm512_mask_storeu_epi32(even + t, lanes, _mm512_slli_epi32(both, 16));
        __m512i high = _mm512_and_si512(both, _mm512_set1_epi32(0xffff0000));
        _mm512_mask_storeu_epi32(odd + t, lanes, high);
    }
}

void store_pairs(half* out, const float* even, const float* odd, int n) {
    for (int t = 0; t < n; t += 16) {
        __mmask16 lanes = first_lanes(n - t);
        __m256i low = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes, even + t));
        __m256i high = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes, odd + t));
        __m512i both = _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16);
        both = _mm512_or_si512(both, _mm512_cvtepu16_epi32(low));
        _mm512_mask_storeu_epi32(out + 2 * t, lanes, both);
    }
}
#else
void load_pairs(float* even, float* odd, const half* in, int n) {
    for (int t = 0; t < n; ++t) {
        uint32_t both, first, second;
        std::memcpy(&both, in + 2 * t, 4);
        first = both << 16, second = both & 0xffff0000;
        std::memcpy(even + t, &first, 4);
        std::memcpy(odd + t, &second, 4);
    }
}

void store_pairs(half* out, const float* even, const float* odd, int n) {
    for (int t = 0; t < n; ++t) {
        uint32_t both = rounded(even[t]) >> 16 | (rounded(odd[t]) & 0xffff0000);
        std::memcpy(out + 2 * t, &both, 4);
    }
}
#endif

// (C, T) -> (T, padded C), of 32 bits
void turn(uint32_t* out, const uint32_t* in, int64_t channels, int tokens) {
    const int64_t width = padded(channels);
    int64_t c = 0;
#if defined(__AVX512F__)
    for (; c + 16 <= channels; c += 16)
        for (int t = 0; t < tokens; t += 16) {
            __m512i a[16], b[16];
            for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_si512(in + (c + i) * tokens + t);
            for (int i = 0; i < 16; i += 2) {
                b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
                b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
            }
            for (int i = 0; i < 16; i += 4)
                for (int j = 0; j < 2; ++j) {
                    a[i + 2 * j] = _mm512_unpacklo_epi64(b[i + j], b[i + j + 2]);
                    a[i + 2 * j + 1] = _mm512_unpackhi_epi64(b[i + j], b[i + j + 2]);
                }
            for (int i = 0; i < 16; i += 8)
                for (int j = 0; j < 4; ++j) {
                    b[i + j] = _mm512_shuffle_i32x4(a[i + j], a[i + j + 4], 0x88);
                    b[i + j + 4] = _mm512_shuffle_i32x4(a[i + j], a[i + j + 4], 0xdd);
                }
            for (int j = 0; j < 8; ++j) {
                a[j] = _mm512_shuffle_i32x4(b[j], b[j + 8], 0x88);
                a[j + 8] = _mm512_shuffle_i32x4(b[j], b[j + 8], 0xdd);
            }
            for (int i = 0; i < 16; ++i) _mm512_storeu_si512(out + (t + i) * width + c, a[i]);
        }
#elif defined(__AVX2__)
    for (; c + 8 <= channels; c += 8)
        for (int t = 0; t < tokens; t += 8) {
            __m256 a[8], b[8];
            for (int i = 0; i < 8; ++i)
                a[i] = _mm256_loadu_ps(reinterpret_cast<const float*>(in + (c + i) * tokens + t));
            for (int i = 0; i < 8; i += 2) {
                b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
                b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
            }
            for (int i = 0; i < 8; i += 4)
                for (int j = 0; j < 2; ++j) {
                    a[i + 2 * j] = _mm256_shuffle_ps(b[i + j], b[i + j + 2], 0x44);
                    a[i + 2 * j + 1] = _mm256_shuffle_ps(b[i + j], b[i + j + 2], 0xee);
                }
            for (int j = 0; j < 4; ++j) {
                b[j] = _mm256_permute2f128_ps(a[j], a[j + 4], 0x20);
                b[j + 4] = _mm256_permute2f128_ps(a[j], a[j + 4], 0x31);
            }
            for (int i = 0; i < 8; ++i)
                _mm256_storeu_ps(reinterpret_cast<float*>(out + (t + i) * width + c), b[i]);
        }
#endif
    for (; c < channels; ++c)
        for (int t = 0; t < tokens; ++t) out[t * width + c] = in[c * tokens + t];
}

// sum + weight * column, where a weight and each number of a column is one number, or a pair
Vector multiplied(Vector sum, const float* weight, const uint32_t* column) {
    return sum + *weight * *reinterpret_cast<const Vector*>(column);
}
#if defined(__AVX512BF16__)
Vector multiplied(Vector sum, const half* weight, const uint32_t* column) {
    __m512i both = _mm512_set1_epi32(*reinterpret_cast<const int*>(weight));
    return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)both,
                                    (__m512bh)_mm512_loadu_si512(column));
}
#endif

template <int HEIGHT, int WIDTH, class Number>
void outer_tile(float* sums, const Number* rows, const uint32_t* turned, int64_t width) {
    constexpr int AT_ONCE = 4 / sizeof(Number);
    Vector sum[HEIGHT][WIDTH];
    for (int i = 0; i < HEIGHT; ++i)
        for (int v = 0; v < WIDTH; ++v)
            sum[i][v] = *reinterpret_cast<Vector*>(sums + i * width + v * LANES);
    for (int t = 0; t < CHUNK / AT_ONCE; ++t)
        for (int i = 0; i < HEIGHT; ++i)
            for (int v = 0; v < WIDTH; ++v)
                sum[i][v] = multiplied(sum[i][v], rows + i * CHUNK + t * AT_ONCE,
                                       turned + t * width + v * LANES);
    for (int i = 0; i < HEIGHT; ++i)
        for (int v = 0; v < WIDTH; ++v)
            *reinterpret_cast<Vector*>(sums + i * width + v * LANES) = sum[i][v];
}

// sums (padded M, padded K) += rows (M, CHUNK) times what was turned (CHUNK, padded K)
template <class Number>
void outer(float* sums, const Number* rows, const uint32_t* turned, int64_t outputs,
           int64_t inputs) {
    const int64_t width = padded(inputs);
#if defined(TILES)
    if constexpr (std::is_same<Number, half>::value)
        if (has_tiles()) return tile_outer(sums, rows, turned, outputs, width);
#endif
    for (int64_t m = 0; m < outputs; m += ROWS) {
        float* at = sums + m * width;
        const Number* row = rows + m * CHUNK;
        int64_t k = 0;
        for (; k + 2 * LANES <= width; k += 2 * LANES)
            outer_tile<ROWS, 2>(at + k, row, turned + k, width);
        for (; k < width; k += LANES) outer_tile<ROWS, 1>(at + k, row, turned + k, width);
    }
}

// (M, LANES) += (M, CHUNK)
void add_tokens(float* sums, const float* values, int64_t channels) {
    for (int64_t c = 0; c < channels; ++c) {
        Vector sum = *reinterpret_cast<const Vector*>(sums + c * LANES);
        for (int t = 0; t < CHUNK; t += LANES)
            sum += *reinterpret_cast<const Vector*>(values + c * CHUNK + t);
        *reinterpret_cast<Vector*>(sums + c * LANES) = sum;
    }
}

}  // namespace
