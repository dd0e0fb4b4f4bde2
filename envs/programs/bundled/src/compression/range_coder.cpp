// Adaptive binary range coder (carry-propagating encoder, bit-tree models) used to pack a
// table of sensor samples; encoder and decoder share one templated "codec" description.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

namespace {

constexpr int kProbBits = 12;
constexpr int kAdaptShift = 4;
constexpr uint32_t kTop = 1u << 24;

struct BitModel {
    uint16_t p0 = 1 << (kProbBits - 1);

    void update(unsigned bit) {
        if (bit)
            p0 -= p0 >> kAdaptShift;
        else
            p0 += ((1 << kProbBits) - p0) >> kAdaptShift;
    }
};

class Encoder {
  public:
    Encoder(uint8_t *out, size_t cap) : out_(out), cap_(cap) {}

    unsigned code(BitModel &m, unsigned bit) {
        uint32_t bound = (range_ >> kProbBits) * m.p0;
        if (bit) {
            low_ += bound;
            range_ -= bound;
        } else {
            range_ = bound;
        }
        m.update(bit);
        while (range_ < kTop) {
            range_ <<= 8;
            shift_low();
        }
        return bit;
    }

    size_t finish() {
        for (int i = 0; i < 5; i++)
            shift_low();
        return size_;
    }

  private:
    void shift_low() {
        if (low_ < 0xff000000u || low_ > 0xffffffffu) {
            uint8_t carry = uint8_t(low_ >> 32);
            if (started_)
                put(uint8_t(cache_ + carry));
            for (; pending_ > 0; pending_--)
                put(uint8_t(0xff + carry));
            started_ = true;
            cache_ = uint8_t(low_ >> 24);
        } else {
            pending_++;
        }
        low_ = (low_ & 0x00ffffffu) << 8;
    }

    void put(uint8_t b) {
        if (size_ < cap_)
            out_[size_++] = b;
    }

    uint8_t *out_;
    size_t cap_;
    size_t size_ = 0;
    uint64_t low_ = 0;
    uint32_t range_ = 0xffffffffu;
    uint32_t pending_ = 0;
    uint8_t cache_ = 0;
    bool started_ = false;
};

class Decoder {
  public:
    Decoder(const uint8_t *in, size_t size) : in_(in), end_(in + size) {
        for (int i = 0; i < 4; i++)
            code_ = code_ << 8 | next();
    }

    unsigned code(BitModel &m, unsigned = 0) {
        uint32_t bound = (range_ >> kProbBits) * m.p0;
        unsigned bit = code_ >= bound;
        if (bit) {
            code_ -= bound;
            range_ -= bound;
        } else {
            range_ = bound;
        }
        m.update(bit);
        while (range_ < kTop) {
            range_ <<= 8;
            code_ = code_ << 8 | next();
        }
        return bit;
    }

  private:
    uint8_t next() { return in_ < end_ ? *in_++ : 0; }

    const uint8_t *in_;
    const uint8_t *end_;
    uint32_t code_ = 0;
    uint32_t range_ = 0xffffffffu;
};

// Codes a Bits-wide symbol MSB first, each prefix having its own model.
template <int Bits> struct BitTree {
    BitModel nodes[1 << Bits];

    template <class Coder> unsigned code(Coder &c, unsigned symbol) {
        unsigned node = 1;
        for (int i = Bits - 1; i >= 0; i--)
            node = node << 1 | c.code(nodes[node], symbol >> i & 1);
        return node & ((1u << Bits) - 1);
    }
};

struct Sample {
    uint8_t channel;
    int8_t delta;
};

// The same member function encodes or decodes, depending on the coder it is given.
class SampleModel {
  public:
    template <class Coder> void code(Coder &c, Sample &s) {
        s.channel = uint8_t(channel_[last_channel_].code(c, s.channel));
        unsigned ctx = s.channel;
        unsigned zigzag = s.delta < 0 ? unsigned(-2 * s.delta - 1) : unsigned(2 * s.delta);
        zigzag = delta_[ctx].code(c, zigzag);
        s.delta = int8_t(zigzag & 1 ? -int(zigzag / 2) - 1 : int(zigzag / 2));
        last_channel_ = s.channel;
    }

  private:
    BitTree<2> channel_[4];
    BitTree<8> delta_[4];
    unsigned last_channel_ = 0;
};

constexpr size_t kSamples = 1500;

void synthesize(Sample *s) {
    uint64_t lcg = 42;
    uint8_t channel = 0;
    for (size_t i = 0; i < kSamples; i++) {
        lcg = lcg * 6364136223846793005u + 1442695040888963407u;
        unsigned r = unsigned(lcg >> 40);
        channel = (r & 7) ? (channel + 1) & 3 : channel;
        int spread = 1 << (1 + channel);
        s[i].channel = channel;
        s[i].delta = int8_t(int((r >> 4) % spread) - spread / 2 + int((r >> 12) % spread));
    }
    s[kSamples / 2].delta = -128;
    s[kSamples / 3].delta = 127;
}

Sample g_input[kSamples];
uint8_t g_packed[2 * kSamples];

} // namespace

int main() {
    synthesize(g_input);

    SampleModel enc_model;
    Encoder enc(g_packed, sizeof g_packed);
    for (Sample s : g_input)
        enc_model.code(enc, s);
    size_t size = enc.finish();

    SampleModel dec_model;
    Decoder dec(g_packed, size);
    for (size_t i = 0; i < kSamples; i++) {
        Sample s = {0, 0};
        dec_model.code(dec, s);
        if (s.channel != g_input[i].channel || s.delta != g_input[i].delta) {
            printf("mismatch at sample %zu\n", i);
            return 1;
        }
    }

    uint32_t h = 0;
    for (size_t i = 0; i < size; i++)
        h = (h << 5 | h >> 27) ^ g_packed[i];
    printf("%zu samples in %zu bytes\n", kSamples, size);
    printf("checksum %08x\n", unsigned(h));
    return 0;
}
