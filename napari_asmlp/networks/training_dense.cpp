// A linear layer between blocks and its gradients (networks/compiled_training.py): of tokens, or of
// the eight tokens of a cell of 2 x 2 x 2, with a norm before it or not.
#include "layer.h"

namespace {

// (channels, X, Y, Z), whose channels are those of a token, or of a cell of eight
template <class Number>
struct Field {
    Number* at;
    int64_t channels, x, y, z;
    bool cells;

    // Call f(t, count, row of channels, where its numbers are) for each row's part of a chunk
    template <class F>
    void rows(int64_t n, int count, F f) const {
        for (int t = 0; t < count;) {
            int64_t row = (n + t) / z, first = (n + t) % z;
            int length = int(std::min<int64_t>(count - t, z - first));
            for (int64_t c = 0; c < channels; ++c)
                for (int corner = 0; corner < 4; ++corner) {  // of a cell; its last axis is a pair
                    int64_t i = 2 * (row / y) + corner / 2, j = 2 * (row % y) + corner % 2;
                    f(t, length, 2 * corner * channels + c,
                      at + ((c * 2 * x + i) * 2 * y + j) * 2 * z + 2 * first);
                }
            t += length;
        }
    }

    void read(float* out, int64_t n, int count) const {
        if (cells) {
            rows(n, count, [&](int t, int length, int64_t row, const Number* from) {
                float* even = out + row * CHUNK + t;
                load_pairs(even, even + channels * CHUNK, from, length);
            });
        } else {
            for (int64_t c = 0; c < channels; ++c) {
                const Number* from = at + c * x * y * z + n;
                load(out + c * CHUNK, from, count);
                ask_ahead(from);
            }
        }
        for (int64_t c = 0; c < (cells ? 8 : 1) * channels; ++c)
            for (int t = count; t < CHUNK; ++t) out[c * CHUNK + t] = 0;
    }

    void write(const float* values, int64_t n, int count) const {
        if (cells) {
            rows(n, count, [&](int t, int length, int64_t row, Number* to) {
                const float* even = values + row * CHUNK + t;
                store_pairs(to, even, even + channels * CHUNK, length);
            });
        } else {
            for (int64_t c = 0; c < channels; ++c)
                store(at + c * x * y * z + n, values + c * CHUNK, count);
        }
    }
};

struct Call {
    int64_t batch, inputs, outputs, merges, splits, normalises, threads;
    int64_t shape[3];  // of the tokens, or cells, that the layer is applied to
    float eps;
    const float* parameters;  // weight and bias
};

template <class Number>
class Dense {
   public:
    using Operand = typename Maths<Number>::Operand;
    using R = Row<Number>;

    Dense(const Call& call, bool both)
        : a_(call), k_((a_.merges ? 8 : 1) * a_.inputs), m_((a_.splits ? 8 : 1) * a_.outputs),
          count_(a_.shape[0] * a_.shape[1] * a_.shape[2]), parameters_(a_.parameters),
          layer_(parameters_, m_, k_, both) {}

    void forward(Number* out, const Number* in, const Number* residual) {
        each_chunk([&](int64_t b, int64_t n, int count, Buffers& u) {
            prepare(u, in, b, n, count);
            layer_.forward(u.y.data(), operands(u.operands.data(), u.rows.data(), k_));
            if (residual) {
                target(residual, b).read(u.x.data(), n, count);
                for (int64_t i = 0; i < m_ * CHUNK; ++i) u.y[i] += u.x[i];
            }
            target(out, b).write(u.y.data(), n, count);
        });
    }

    void backward(Number* in_gradient, float* parameters, const Number* out_gradient,
                  const Number* in) {
        each_chunk([&](int64_t b, int64_t n, int count, Buffers& u) {
            prepare(u, in, b, n, count);
            target(out_gradient, b).read(u.y.data(), n, count);
            u.gradient_rows.take(u.y, m_);
            add_tokens(u.sum.bias.data(), u.y.data(), m_);
            u.sum.learn(u.turned, u.gradient_rows.data(), u.rows.data());
            if (!in_gradient) return;
            const Operand* gradient = operands(u.operands.data(), u.gradient_rows.data(), m_);
            layer_.backward(u.back.data(), gradient);
            if (a_.normalises) unnormalise(u.back.data(), u.x.data(), u.scale, k_, false);
            source(in_gradient, b).write(u.back.data(), n, count);
        });
        for (const Buffers& u : buffers_) {  // in one order
            float* at = parameters;
            u.sum.add_to(at);
        }
    }

   private:
    struct Buffers {
        std::vector<float> x, y, back;
        Rounded<R> rows, gradient_rows;
        std::vector<Operand> operands;
        std::vector<uint32_t> turned;
        Sum sum;
        float scale[CHUNK];

        Buffers(int64_t m, int64_t k)
            : x(size(m, k)), y(size(m, k)), back(size(m, k)), operands(size(m, k)),
              turned(size(m, k)), sum(m, k) {}

        static int64_t size(int64_t m, int64_t k) {
            return (padded(std::max(m, k)) + SIDE) * CHUNK;
        }
    };

    template <class F>
    void each_chunk(F work) {
        buffers_.assign(a_.threads, Buffers(m_, k_));
        const int64_t chunks = (count_ + CHUNK - 1) / CHUNK;
#pragma omp parallel num_threads(a_.threads)
        {
            const Tiles tiles;
#pragma omp for schedule(static)
            for (int64_t i = 0; i < a_.batch * chunks; ++i) {
                int64_t n = i % chunks * CHUNK;
                int count = int(std::min<int64_t>(CHUNK, count_ - n));
                work(i / chunks, n, count, buffers_[thread_number()]);
            }
        }
    }

    template <class N>
    Field<N> source(N* in, int64_t b) const {
        return {in + b * k_ * count_, a_.inputs, a_.shape[0], a_.shape[1], a_.shape[2],
                bool(a_.merges)};
    }

    template <class N>
    Field<N> target(N* out, int64_t b) const {
        return {out + b * m_ * count_, a_.outputs, a_.shape[0], a_.shape[1], a_.shape[2],
                bool(a_.splits)};
    }

    void prepare(Buffers& u, const Number* in, int64_t b, int64_t n, int count) const {
        source(in, b).read(u.x.data(), n, count);
        if (a_.normalises) normalise(u.x.data(), u.x.data(), k_, a_.eps, false, u.scale);
        u.rows.take(u.x, k_);
    }

    const Call a_;
    const int64_t k_, m_, count_;
    const float* parameters_;
    Layer<Number> layer_;
    std::vector<Buffers> buffers_;
};

}  // namespace

extern "C" void dense_forward_float32(const Call* call, float* out, const float* in,
                                      const float* residual) {
    Dense<float>(*call, false).forward(out, in, residual);
}
extern "C" void dense_forward_bfloat16(const Call* call, half* out, const half* in,
                                       const half* residual) {
    Dense<half>(*call, false).forward(out, in, residual);
}
extern "C" void dense_backward_float32(const Call* call, float* in_gradient, float* parameters,
                                       const float* out_gradient, const float* in) {
    Dense<float>(*call, true).backward(in_gradient, parameters, out_gradient, in);
}
extern "C" void dense_backward_bfloat16(const Call* call, half* in_gradient, float* parameters,
                                        const half* out_gradient, const half* in) {
    Dense<half>(*call, true).backward(in_gradient, parameters, out_gradient, in);
}
