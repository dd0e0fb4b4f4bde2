// Reliable transport over a lossy, reordering channel: handshake and teardown state machines
// with go-back-N and selective repeat windows as interchangeable classes.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

namespace net {

enum class Kind : uint8_t { Syn, SynAck, Data, Ack, Fin, FinAck };

struct Frame {
    Kind kind;
    uint8_t seq;
    uint8_t len;
    uint8_t body[12];
    uint16_t check;

    static Frame make(Kind kind, uint8_t seq = 0, const uint8_t *data = nullptr, size_t len = 0) {
        Frame f = {kind, seq, uint8_t(len), {0}, 0};
        for (size_t i = 0; i < len; i++)
            f.body[i] = data[i];
        f.check = f.sum();
        return f;
    }
    bool intact() const { return check == sum(); }
    void damage(unsigned bit) {
        if (bit < 8)
            seq ^= uint8_t(1u << bit);
        else
            body[bit / 8 - 1] ^= uint8_t(1u << bit % 8);
    }

  private:
    // Fletcher-16 over header and body.
    uint16_t sum() const {
        unsigned a = unsigned(kind) + 1, b = a;
        a = (a + seq) % 255, b = (b + a) % 255;
        a = (a + len) % 255, b = (b + a) % 255;
        for (uint8_t c : body) {
            a = (a + c) % 255;
            b = (b + a) % 255;
        }
        return uint16_t(b << 8 | a);
    }
};

class Endpoint {
  public:
    virtual ~Endpoint() = default;
    virtual void receive(const Frame &f) = 0;
    virtual void tick() = 0;
    virtual bool closed() const = 0;
};

// One direction of the wire. Frames take between two and five ticks.
class Channel {
  public:
    Channel(uint32_t seed, unsigned loss, unsigned noise)
        : seed_(seed), loss_(loss), noise_(noise) {}

    void send(const Frame &f) {
        sent_++;
        if (chance(loss_) || count_ == CAPACITY)
            return;
        Flight &slot = flights_[count_++];
        slot.frame = f;
        slot.due = now_ + 2 + random() % 4;
        if (chance(noise_))
            slot.frame.damage(random() % 104);
    }
    void tick(Endpoint &to) {
        now_++;
        for (size_t i = 0; i < count_;) {
            if (flights_[i].due > now_) {
                i++;
                continue;
            }
            Frame f = flights_[i].frame;
            flights_[i] = flights_[--count_];
            if (f.intact())
                to.receive(f);
        }
    }
    unsigned sent() const { return sent_; }

  private:
    static const size_t CAPACITY = 64;
    struct Flight {
        Frame frame;
        unsigned due;
    };
    uint32_t random() {
        seed_ = seed_ * 1103515245u + 12345u;
        return seed_ >> 16;
    }
    bool chance(unsigned percent) { return random() % 100 < percent; }

    Flight flights_[CAPACITY];
    size_t count_ = 0;
    unsigned now_ = 0, sent_ = 0;
    uint32_t seed_;
    unsigned loss_, noise_;
};

const uint8_t WINDOW = 8;
const size_t CHUNK = sizeof(Frame::body);

class Sender : public Endpoint {
  public:
    Sender(Channel &out, const uint8_t *data, size_t size) : out_(out), data_(data), size_(size) {}

    void receive(const Frame &f) final {
        switch (state_) {
        case State::SynSent:
            if (f.kind == Kind::SynAck) {
                state_ = State::Established;
                fill_window();
            }
            break;
        case State::Established:
            if (f.kind != Kind::Ack)
                break;
            acknowledge(f.seq);
            fill_window();
            if (base_ == chunks()) {
                state_ = State::FinWait;
                timer_ = 0;
            }
            break;
        case State::FinWait:
            if (f.kind == Kind::FinAck)
                state_ = State::Closed;
            break;
        case State::Closed:
            break;
        }
    }
    void tick() final {
        switch (state_) {
        case State::SynSent:
            control(Kind::Syn);
            break;
        case State::Established:
            check_timers();
            break;
        case State::FinWait:
            control(Kind::Fin);
            break;
        case State::Closed:
            break;
        }
    }
    bool closed() const final { return state_ == State::Closed; }
    unsigned repeats() const { return repeats_; }

  protected:
    static const int TIMEOUT = 14;
    virtual void started(size_t chunk) = 0;
    virtual void acknowledge(uint8_t seq) = 0;
    virtual void check_timers() = 0;

    size_t chunks() const { return (size_ + CHUNK - 1) / CHUNK; }
    void transmit(size_t chunk) {
        size_t off = chunk * CHUNK;
        size_t len = size_ - off < CHUNK ? size_ - off : CHUNK;
        out_.send(Frame::make(Kind::Data, uint8_t(chunk), data_ + off, len));
    }
    void repeat(size_t chunk) {
        repeats_++;
        transmit(chunk);
    }
    // Maps an eight bit sequence number to the chunk inside the window, or SIZE_MAX.
    size_t in_window(uint8_t seq) const {
        size_t chunk = base_ + uint8_t(seq - uint8_t(base_));
        return chunk < next_ ? chunk : SIZE_MAX;
    }

    size_t base_ = 0, next_ = 0;
    int timer_ = 0;

  private:
    enum class State { SynSent, Established, FinWait, Closed };

    void control(Kind kind) {
        if (timer_-- == 0) {
            out_.send(Frame::make(kind));
            timer_ = TIMEOUT;
        }
    }
    void fill_window() {
        while (next_ < chunks() && next_ < base_ + WINDOW) {
            transmit(next_);
            started(next_++);
        }
    }

    Channel &out_;
    const uint8_t *data_;
    size_t size_;
    unsigned repeats_ = 0;
    State state_ = State::SynSent;
};

// Cumulative acknowledgements, one timer for the oldest frame.
class GoBackN : public Sender {
  public:
    using Sender::Sender;

  protected:
    void started(size_t chunk) override {
        if (chunk == base_)
            timer_ = TIMEOUT;
    }
    void acknowledge(uint8_t seq) override {
        size_t chunk = in_window(seq);
        if (chunk != SIZE_MAX) {
            base_ = chunk + 1;
            timer_ = TIMEOUT;
        }
    }
    void check_timers() override {
        if (--timer_ > 0)
            return;
        for (size_t c = base_; c < next_; c++)
            repeat(c);
        timer_ = TIMEOUT;
    }
};

// Individual acknowledgements and a timer per frame; a timer of -1 means acknowledged.
class SelectiveRepeat : public Sender {
  public:
    using Sender::Sender;

  protected:
    void started(size_t chunk) override { timers_[chunk % WINDOW] = TIMEOUT; }
    void acknowledge(uint8_t seq) override {
        size_t chunk = in_window(seq);
        if (chunk != SIZE_MAX)
            timers_[chunk % WINDOW] = -1;
        while (base_ < next_ && timers_[base_ % WINDOW] < 0)
            base_++;
    }
    void check_timers() override {
        for (size_t c = base_; c < next_; c++) {
            int &t = timers_[c % WINDOW];
            if (t > 0 && --t == 0) {
                repeat(c);
                t = TIMEOUT;
            }
        }
    }

  private:
    int timers_[WINDOW] = {};
};

class Receiver : public Endpoint {
  public:
    Receiver(Channel &out, bool buffering) : out_(out), buffering_(buffering) {}

    void receive(const Frame &f) override {
        switch (f.kind) {
        case Kind::Syn:
            out_.send(Frame::make(Kind::SynAck));
            break;
        case Kind::Data:
            accept(f);
            break;
        case Kind::Fin:
            finished_ = true;
            out_.send(Frame::make(Kind::FinAck));
            break;
        default:
            break;
        }
    }
    void tick() override {}
    bool closed() const override { return finished_; }
    const uint8_t *data() const { return data_; }
    size_t size() const { return size_; }

  private:
    void accept(const Frame &f) {
        uint8_t ahead = uint8_t(f.seq - expected_);
        if (ahead < (buffering_ ? WINDOW : 1)) {
            held_[f.seq % WINDOW] = f;
            present_ |= uint8_t(1u << f.seq % WINDOW);
        }
        while (present_ >> expected_ % WINDOW & 1) {
            const Frame &ready = held_[expected_ % WINDOW];
            present_ &= uint8_t(~(1u << expected_ % WINDOW));
            if (size_ + ready.len <= sizeof data_)
                memcpy(data_ + size_, ready.body, ready.len);
            size_ += ready.len;
            expected_++;
        }
        if (!buffering_)
            out_.send(Frame::make(Kind::Ack, uint8_t(expected_ - 1)));
        else if (ahead < WINDOW || uint8_t(expected_ - f.seq) <= WINDOW)
            out_.send(Frame::make(Kind::Ack, f.seq));
    }

    Channel &out_;
    bool buffering_, finished_ = false;
    uint8_t expected_ = 0, present_ = 0;
    Frame held_[WINDOW];
    uint8_t data_[4096];
    size_t size_ = 0;
};

} // namespace net

static int transfer(const char *name, net::Sender &tx, net::Receiver &rx, net::Channel &forward,
                    net::Channel &backward, const uint8_t *data, size_t size, uint32_t *hash) {
    int ticks = 0;
    for (; ticks < 20000 && !(tx.closed() && rx.closed()); ticks++) {
        net::Endpoint *ends[] = {&tx, &rx};
        for (net::Endpoint *e : ends)
            e->tick();
        forward.tick(rx);
        backward.tick(tx);
    }
    bool same = rx.size() == size && memcmp(rx.data(), data, size) == 0;
    printf("%s: %d ticks, %u frames, %u repeats, %s\n", name, ticks, forward.sent(), tx.repeats(),
           same ? "intact" : "broken");
    *hash = (*hash * 31 + uint32_t(ticks)) * 31 + forward.sent() + backward.sent();
    return same ? 0 : 1;
}

int main() {
    static uint8_t data[4000];
    uint32_t x = 99, hash = 0;
    int bad = 0;
    for (uint8_t &byte : data) {
        x = x * 1664525u + 1013904223u;
        byte = uint8_t(x >> 24);
    }
    for (unsigned loss = 0; loss <= 20; loss += 20) {
        net::Channel a(1 + loss, loss, 4), b(2 + loss, loss, 4), c(1 + loss, loss, 4),
            d(2 + loss, loss, 4);
        net::GoBackN gbn(a, data, sizeof data);
        net::SelectiveRepeat sr(c, data, sizeof data);
        net::Receiver in_order(b, false), buffering(d, true);
        bad += transfer("go-back-n", gbn, in_order, a, b, data, sizeof data, &hash);
        bad += transfer("selective", sr, buffering, c, d, data, sizeof data, &hash);
    }
    printf("checksum %08x\n", hash);
    return bad;
}
