// What compiled blocks compute with: chunks of tokens, (C, CHUNK), and operands of products.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "tiles.h"
#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__AVX2__)
#include <immintrin.h>
#endif
#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define WIDENS  // part of a vector from bfloat16 and back by one instruction
#endif

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX2__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
constexpr int ROWS = LANES == 8 ? 6 : 8, COLUMNS = 2;  // of vectors, in registers at a time
typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

int thread_number() {
#if defined(_OPENMP)
    return omp_get_thread_num();
#else
    return 0;
#endif
}

using half = uint16_t;  // bfloat16: the upper half of a float32

uint32_t bits(float x) {
    uint32_t u;
    std::memcpy(&u, &x, 4);
    return u;
}

uint32_t rounded(float x) {  // to bfloat16, to nearest even, in the upper half
    uint32_t u = bits(x);
    return u + 0x7fff + (u >> 16 & 1);
}

// A row is too short for a call of memcpy
void store(float* out, const float* in, int n) {
    int t = 0;
    for (; t + LANES <= n; t += LANES)
        *reinterpret_cast<Vector*>(out + t) = *reinterpret_cast<const Vector*>(in + t);
    for (; t < n; ++t) out[t] = in[t];
}
void load(float* out, const float* in, int n) { store(out, in, n); }
#if defined(WIDENS)
__mmask16 first_lanes(int n) { return n < 16 ? (1u << n) - 1 : 0xffff; }

void store(half* out, const float* in, int n) {
    for (int t = 0; t < n; t += 16) {
        __mmask16 lanes = first_lanes(n - t);
        __m256i value = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes, in + t));
        _mm256_mask_storeu_epi16(out + t, lanes, value);
    }
}

__m512 widened(const half* in, __mmask16 lanes) {
    __m512i value = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, in));
    return (__m512)_mm512_slli_epi32(value, 16);
}

void load(float* out, const half* in, int n) {
    for (int t = 0; t < n; t += 16) {
        __mmask16 lanes = first_lanes(n - t);
        _mm512_mask_storeu_ps(out + t, lanes, widened(in + t, lanes));
    }
}
#else
void store(half* out, const float* in, int n) {
    for (int t = 0; t < n; ++t) out[t] = rounded(in[t]) >> 16;
}

void load(float* out, const half* in, int n) {
    for (int t = 0; t < n; ++t) {
        uint32_t u = uint32_t(in[t]) << 16;
        std::memcpy(out + t, &u, 4);
    }
}
#endif

// How a kind of number is multiplied, and how exactly its GELU is computed: as max(x, 0) - h(|x|),
// h(a) = a (1 - Phi(a)) a polynomial of 2 a / END - 1 up to END, where h is all but 0. Largest
// error: 4e-7, or 1.4e-5 where bfloat16 rounds 100 times as much. SLOPE is one for h', with
// errors of 5e-7 and 8e-5.
template <class Number>
struct Maths;

template <>
struct Maths<float> {
    using Operand = float;
    static constexpr float END = 5.5f;
    static constexpr float H[] = {
        -1.517685170e-02f, -8.052600826e-04f, 9.689606354e-02f, -3.640836102e-02f,
        -2.537056951e-01f, 2.308411314e-01f, 2.695964279e-01f, -5.440990769e-01f,
        1.525605997e-01f, 4.592228802e-01f, -6.286078202e-01f, 2.605161313e-01f,
        1.789810496e-01f, -3.086897630e-01f, 1.912618981e-01f, -6.057774961e-02f,
        8.194380511e-03f};
    static constexpr float SLOPE[] = {
        3.984361840e-02f,  -8.630824873e-02f, -1.522611000e-01f, 4.860474596e-01f,
        4.952501567e-02f,  -1.096576264e+00f, 7.515571346e-01f,  9.726099248e-01f,
        -1.707499572e+00f, 4.468596114e-01f,  1.152162372e+00f,  -1.372121592e+00f,
        4.755305179e-01f,  2.603903269e-01f,  -3.368303434e-01f, 1.390981823e-01f,
        -2.202774868e-02f};
};

template <>
struct Maths<half> {
#if defined(__AVX512BF16__)
    using Operand = uint32_t;
#else
    using Operand = float;
#endif
    static constexpr float END = 4.5f;
    static constexpr float H[] = {
        -4.258684452e-02f, 2.178266047e-02f, 1.763805443e-01f, -1.763153830e-01f,
        -2.049073245e-01f, 4.347816332e-01f, -2.029682594e-01f, -1.472158722e-01f,
        2.465923946e-01f, -1.330395023e-01f, 2.749713403e-02f};
    static constexpr float SLOPE[] = {
        4.554631091e-02f,  -1.806256279e-01f, -1.214299617e-02f, 6.090298458e-01f,
        -4.742373333e-01f, -5.339142334e-01f, 9.440368055e-01f,  -3.639891745e-01f,
        -1.940523278e-01f, 2.194041339e-01f,  -5.916317056e-02f};
};

template <class Number>
void gelu(float* x, int n) {
    using M = Maths<Number>;
    constexpr int AT_ONCE = 4, TERMS = sizeof(M::H) / sizeof(float);
    for (int t = 0; t < n; t += AT_ONCE * LANES)
        for (int v = 0; v < AT_ONCE; ++v) {
            Vector& at = *reinterpret_cast<Vector*>(x + t + v * LANES);
            Vector value = at, zero = {}, last = zero + M::END;
            Vector size = value < zero ? -value : value;
            size = size < last ? size : last;
            Vector s = size * (2 / M::END) - 1.0f, sum = zero + M::H[0];
            for (int k = 1; k < TERMS; ++k) sum = sum * s + M::H[k];
            at = (value < zero ? zero : value) - sum;  // NaN stays NaN
        }
}

struct Linear {
    const void* weight;  // panels of ROWS outputs: (M / ROWS, K, ROWS) float, or pairs along K;
                         // with tiles pairs as they are, (padded M, padded K / 2)
    const float* bias;   // (M,), padded like the weight
    int64_t outputs, inputs;
};

// (K, CHUNK) as operands of a product, times a weight, plus bias -> (M, CHUNK)
void product(float* out, const float* in, const Linear& linear) {
    const float* panel = static_cast<const float*>(linear.weight);
    for (int m = 0; m < linear.outputs; m += ROWS, panel += linear.inputs * ROWS)
        for (int t = 0; t < CHUNK; t += COLUMNS * LANES) {
            Vector sum[ROWS][COLUMNS];
            for (int i = 0; i < ROWS; ++i)
                for (int v = 0; v < COLUMNS; ++v) sum[i][v] = Vector{} + linear.bias[m + i];
            for (int64_t k = 0; k < linear.inputs; ++k) {
                const Vector* column = reinterpret_cast<const Vector*>(in + k * CHUNK + t);
                for (int i = 0; i < ROWS; ++i)
                    for (int v = 0; v < COLUMNS; ++v) sum[i][v] += panel[k * ROWS + i] * column[v];
            }
            for (int i = 0; i < ROWS; ++i)
                for (int v = 0; v < COLUMNS; ++v)
                    *reinterpret_cast<Vector*>(out + (m + i) * CHUNK + t + v * LANES) = sum[i][v];
        }
}

#if defined(__AVX512BF16__)
void product(float* out, const uint32_t* in, const Linear& linear) {
#if defined(TILES)
    if (has_tiles())
        return tile_product(out, in, static_cast<const uint32_t*>(linear.weight), linear.bias,
                            linear.outputs, linear.inputs);
#endif
    const uint32_t* panel = static_cast<const uint32_t*>(linear.weight);
    const int64_t pairs = (linear.inputs + 1) / 2;
    for (int m = 0; m < linear.outputs; m += ROWS, panel += pairs * ROWS)
        for (int t = 0; t < CHUNK; t += COLUMNS * LANES) {
            __m512 sum[ROWS][COLUMNS];
            for (int i = 0; i < ROWS; ++i)
                for (int v = 0; v < COLUMNS; ++v) sum[i][v] = _mm512_set1_ps(linear.bias[m + i]);
            for (int64_t k = 0; k < pairs; ++k)
                for (int i = 0; i < ROWS; ++i) {
                    __m512bh weight = (__m512bh)_mm512_set1_epi32(panel[k * ROWS + i]);
                    for (int v = 0; v < COLUMNS; ++v) {
                        __m512i column = _mm512_loadu_si512(in + k * CHUNK + t + v * LANES);
                        sum[i][v] = _mm512_dpbf16_ps(sum[i][v], weight, (__m512bh)column);
                    }
                }
            for (int i = 0; i < ROWS; ++i)
                for (int v = 0; v < COLUMNS; ++v)
                    _mm512_storeu_ps(out + (m + i) * CHUNK + t + v * LANES, sum[i][v]);
        }
}
#endif

// Pairs of channels beyond the last, which weights of 0 meet
void clear_rest(uint32_t* operands, int64_t channels) {
    const int64_t pairs = (channels + 1) / 2;
    std::fill(operands + pairs * CHUNK, operands + padded(channels) / 2 * CHUNK, 0);
}

// (C, CHUNK) float32 -> operands of a product
void pack(float* out, const float* in, int64_t channels) {
    std::memcpy(out, in, 4 * channels * CHUNK);
}
void pack(uint32_t* out, const float* in, int64_t channels) {
    clear_rest(out, channels);
    for (int64_t c = 0; c < channels; c += 2, out += CHUNK, in += 2 * CHUNK)
        for (int t = 0; t < CHUNK; ++t) {
            uint32_t high = c + 1 < channels ? rounded(in[CHUNK + t]) & 0xffff0000 : 0;
            out[t] = rounded(in[t]) >> 16 | high;
        }
}

// One channel of n tokens to its place among the operands
void place(float* out, int64_t channel, const float* in, int n) {
    store(out + channel * CHUNK, in, n);
}
void place(uint32_t* out, int64_t channel, const half* in, int n) {
    uint32_t* pair = out + channel / 2 * CHUNK;
    if (channel % 2)
        for (int t = 0; t < n; ++t) pair[t] = (pair[t] & 0xffff) | uint32_t(in[t]) << 16;
    else
        for (int t = 0; t < n; ++t) pair[t] = in[t];
}
void place(float* out, int64_t channel, const half* in, int n) {
    load(out + channel * CHUNK, in, n);
}

// What a norm over all tokens takes off and multiplies by
struct Norm {
    float mean, scale;
};

// Sums that a norm over all tokens needs
struct Sums {
    double first = 0, second = 0;

    void operator+=(const Sums& more) { first += more.first, second += more.second; }

    Norm norm(double count, double eps) const {
        double mean = first / count, variance = std::max(second / count - mean * mean, 0.0);
        return {float(mean), float(1 / std::sqrt(variance + eps))};
    }
};

Sums sums(const float* values, int64_t channels, int count) {  // of (C, CHUNK), the first ones
    float first[CHUNK] = {}, second[CHUNK] = {};
    for (int64_t c = 0; c < channels; ++c)
        for (int t = 0; t < CHUNK; ++t) {
            float x = values[c * CHUNK + t];
            first[t] += x;
            second[t] += x * x;
        }
    Sums all;
    for (int t = 0; t < count; ++t) all += Sums{first[t], second[t]};
    return all;
}

// Divide (C, CHUNK) by the deviation over channels, and take the mean off first unless it is 0;
// `scale` becomes what was multiplied by
void normalise(float* out, const float* in, int64_t channels, float eps, bool centred,
               float* scale) {
    float mean[CHUNK] = {};
    for (int t = 0; t < CHUNK; ++t) scale[t] = 0;
    if (!centred) {
        for (int64_t c = 0; c < channels; ++c)
            for (int t = 0; t < CHUNK; ++t) mean[t] += in[c * CHUNK + t];
        for (int t = 0; t < CHUNK; ++t) mean[t] /= channels;
    }
    for (int64_t c = 0; c < channels; ++c)
        for (int t = 0; t < CHUNK; ++t) {
            float x = in[c * CHUNK + t] - mean[t];
            scale[t] += x * x;
        }
    for (int t = 0; t < CHUNK; ++t) scale[t] = 1 / __builtin_sqrtf(scale[t] / channels + eps);
    for (int64_t c = 0; c < channels; ++c)
        for (int t = 0; t < CHUNK; ++t)
            out[c * CHUNK + t] = (in[c * CHUNK + t] - mean[t]) * scale[t];
}

}  // namespace
