// A linear layer in both directions, and the sum of its gradients.
#pragma once
#include "gradients.h"

namespace {

// Ask for the numbers that the next chunk reads: a chunk is too short for the processor to guess
template <class Number>
void ask_ahead(const Number* from) {
    for (size_t i = 0; i < CHUNK * sizeof(Number); i += 64)
        __builtin_prefetch(reinterpret_cast<const char*>(from + CHUNK) + i);
}

// Weights (M, K) as `product` reads them; m and k have these strides
template <class Operand>
std::vector<Operand> panels(const float* weight, int64_t outputs, int64_t inputs, int64_t m_stride,
                            int64_t k_stride) {
    constexpr bool PAIR = std::is_same<Operand, uint32_t>::value;
    const bool tiles = PAIR && has_tiles();
    const int64_t step = PAIR ? 2 : 1, rows = tiles ? 1 : ROWS;
    const int64_t steps = (tiles ? padded(inputs) : inputs + step - 1) / step;
    std::vector<Operand> all((padded(outputs) + SIDE) * steps);
    for (int64_t m = 0; m < outputs; ++m) {
        Operand* out = all.data() + m / rows * steps * rows + m % rows;
        const float* in = weight + m * m_stride;
        for (int64_t k = 0; k < inputs; k += step, out += rows) {
            if constexpr (PAIR) {
                uint32_t odd = k + 1 < inputs ? rounded(in[(k + 1) * k_stride]) : 0;
                *out = rounded(in[k * k_stride]) >> 16 | (odd & 0xffff0000);
            } else {
                *out = in[k * k_stride];
            }
        }
    }
    return all;
}

// A linear layer, ready for products forwards and backwards
template <class Number>
class Layer {
   public:
    using Operand = typename Maths<Number>::Operand;

    Layer(const float*& parameters, int64_t outputs, int64_t inputs, bool both)
        : outputs(outputs), inputs(inputs), bias_(padded(outputs) + SIDE),
          none_(padded(inputs) + SIDE) {
        const float* weight = parameters;
        std::copy_n(weight + outputs * inputs, outputs, bias_.begin());
        parameters += outputs * (inputs + 1);
        forward_ = panels<Operand>(weight, outputs, inputs, inputs, 1);
        if (both) backward_ = panels<Operand>(weight, inputs, outputs, 1, inputs);
    }

    void forward(float* out, const Operand* in) const {
        product(out, in, Linear{forward_.data(), bias_.data(), outputs, inputs});
    }

    void backward(float* out, const Operand* in) const {
        product(out, in, Linear{backward_.data(), none_.data(), inputs, outputs});
    }

    const int64_t outputs, inputs;

   private:
    std::vector<Operand> forward_, backward_;
    std::vector<float> bias_, none_;
};

// A thread's sum of the gradients of a linear layer; that of the weight is turned where it has more
// columns than rows
struct Sum {
    int64_t outputs, inputs;
    bool turned;
    std::vector<float> weight, bias;

    Sum(int64_t outputs, int64_t inputs)
        : outputs(outputs), inputs(inputs), turned(inputs > outputs),
          weight((padded(std::max(outputs, inputs)) + SIDE) * padded(std::min(outputs, inputs))),
          bias(outputs * LANES) {}

    // Add the product over tokens of the rows of the outputs' gradient and of the inputs
    template <class R>
    void learn(std::vector<uint32_t>& scratch, const R* gradient, const R* input) {
        const int64_t m = turned ? inputs : outputs, k = turned ? outputs : inputs;
        const R *rows = turned ? input : gradient, *others = turned ? gradient : input;
        turn(scratch.data(), reinterpret_cast<const uint32_t*>(others), k, CHUNK * sizeof(R) / 4);
        outer(weight.data(), rows, scratch.data(), m, k);
    }

    void add_to(float*& gradient) const {
        const int64_t width = padded(turned ? outputs : inputs);
        for (int64_t m = 0; m < outputs; ++m)
            for (int64_t k = 0; k < inputs; ++k)
                *gradient++ += weight[turned ? k * width + m : m * width + k];
        for (int64_t i = 0; i < outputs * LANES; ++i) gradient[i / LANES] += bias[i];
        gradient += outputs;
    }
};

}  // namespace
