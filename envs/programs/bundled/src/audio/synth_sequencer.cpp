// Fixed-point synthesiser: FM, additive and noise voices with envelopes, driven by a music macro
// language sequencer ("o4 l8 cde [g>c<]2 r4.") and mixed through an echo.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace synth {

const int kRate = 8000;
const int kBlock = 40; // samples per control tick: 200 ticks per second

class SineTable {
  public:
    SineTable() {
        for (int i = 0; i < kSize; i++)
            values_[i] = static_cast<int16_t>(
                floor(32000 * sin((i + 0.5) * 6.283185307179586 / kSize) + 0.5));
    }
    int at(uint32_t phase) const { return values_[phase >> 23]; }

  private:
    static const int kSize = 512;
    int16_t values_[kSize];
};

static const SineTable kSine;

// Phase increment of a MIDI key at kRate, from the octave of C8 downwards.
static uint32_t key_increment(int key) {
    static const uint32_t hundredths[12] = {418601, 443492, 469863, 497803, 527404, 558765,
                                            591991, 627193, 664488, 704000, 745862, 790213}; // Hz
    uint64_t top = (static_cast<uint64_t>(hundredths[key % 12]) << 32) / (100ull * kRate);
    return static_cast<uint32_t>(top >> (9 - key / 12));
}

class Envelope {
  public:
    struct Shape {
        int attack, decay, sustain, release; // level per tick, or a level for sustain; full is 4096
    };
    explicit Envelope(const Shape &shape) : shape_(shape) {}

    void start() { stage_ = Attack; }
    void release() {
        if (stage_ != Idle)
            stage_ = Release;
    }
    bool idle() const { return stage_ == Idle; }
    int tick() {
        switch (stage_) {
        case Idle:
            break;
        case Attack:
            level_ += shape_.attack;
            if (level_ >= 4096) {
                level_ = 4096;
                stage_ = Decay;
            }
            break;
        case Decay:
            level_ -= shape_.decay;
            if (level_ <= shape_.sustain) {
                level_ = shape_.sustain;
                stage_ = level_ ? Sustain : Idle;
            }
            break;
        case Sustain:
            break;
        case Release:
            level_ -= shape_.release;
            if (level_ <= 0) {
                level_ = 0;
                stage_ = Idle;
            }
            break;
        }
        return level_;
    }

  private:
    enum Stage { Idle, Attack, Decay, Sustain, Release };
    Shape shape_;
    Stage stage_ = Idle;
    int level_ = 0;
};

class Voice {
  public:
    explicit Voice(const Envelope::Shape &shape) : envelope_(shape) {}
    virtual ~Voice() {}

    void note_on(int key, int volume) {
        increment_ = key_increment(key);
        volume_ = volume;
        envelope_.start();
        struck(key);
    }
    void note_off() { envelope_.release(); }

    void render(int32_t *mix) {
        if (envelope_.idle())
            return;
        int gain = envelope_.tick() * volume_ / 16;
        for (int i = 0; i < kBlock; i++)
            mix[i] += sample(gain) * gain >> 12;
    }

  protected:
    virtual void struck(int) { phase_ = 0; }
    virtual int sample(int gain) = 0;
    uint32_t phase_ = 0, increment_ = 0;

  private:
    Envelope envelope_;
    int volume_ = 0;
};

// Two operators; the brightness follows the envelope.
class FmVoice : public Voice {
  public:
    FmVoice(const Envelope::Shape &shape, uint32_t ratio, int depth, int feedback)
        : Voice(shape), ratio_(ratio), depth_(depth), feedback_(feedback) {}

  protected:
    void struck(int) override { phase_ = modulator_ = 0; }
    int sample(int gain) override {
        int m = kSine.at(modulator_ + static_cast<uint32_t>(last_ * feedback_) * 4096u);
        last_ = m;
        modulator_ += increment_ * ratio_;
        phase_ += increment_;
        return kSine.at(phase_ + static_cast<uint32_t>((m * depth_ >> 6) * (gain >> 4)) * 256u);
    }

  private:
    uint32_t ratio_, modulator_ = 0;
    int depth_, feedback_, last_ = 0;
};

// A drawbar organ.
class AdditiveVoice : public Voice {
  public:
    AdditiveVoice(const Envelope::Shape &shape, const uint8_t (&bars)[6]) : Voice(shape) {
        for (int i = 0; i < 6; i++)
            total_ += bars_[i] = bars[i];
    }

  protected:
    int sample(int) override {
        int sum = 0;
        phase_ += increment_ / 2; // an octave down, so that the first bar is the sub-octave
        for (int i = 0; i < 6; i++)
            if (bars_[i])
                sum += kSine.at(phase_ * static_cast<uint32_t>(i + 1)) * bars_[i];
        return sum / total_;
    }

  private:
    uint8_t bars_[6];
    int total_ = 0;
};

// Drums: the key selects how fast the shift register runs.
class NoiseVoice : public Voice {
  public:
    using Voice::Voice;

  protected:
    void struck(int key) override { period_ = key < 45 ? 12 : key < 60 ? 4 : 1; }
    int sample(int) override {
        if (--countdown_ <= 0) {
            countdown_ = period_;
            lfsr_ = static_cast<uint16_t>(lfsr_ >> 1 ^ (lfsr_ & 1 ? 0xb400 : 0));
        }
        return lfsr_ & 1 ? 12000 : -12000;
    }

  private:
    uint16_t lfsr_ = 0xace1;
    int period_ = 1, countdown_ = 0;
};

// Plays one line of macro language on its own voice.
class Track {
  public:
    Track(Voice &voice, const char *score) : voice_(voice), p_(score) {}

    bool finished() const { return !*p_ && wait_ == 0; }
    bool valid() const { return valid_; }
    int notes() const { return notes_; }

    void tick() {
        if (wait_ == gate_)
            voice_.note_off();
        while (wait_ == 0 && *p_ && valid_)
            command();
        if (wait_ > 0)
            wait_--;
    }

  private:
    struct Loop {
        const char *body;
        int passes; // 0 until the count at the end was seen
    };

    int number(int fallback) {
        if (*p_ < '0' || *p_ > '9')
            return fallback;
        int n = 0;
        while (*p_ >= '0' && *p_ <= '9' && n < 1000)
            n = n * 10 + (*p_++ - '0');
        return n;
    }
    int duration() {
        int divisor = number(length_);
        int ticks = whole_ / (divisor ? divisor : 1);
        if (*p_ == '.') {
            p_++;
            ticks += ticks / 2;
        }
        return ticks;
    }
    void note(int semitone) {
        for (; *p_ == '+' || *p_ == '-'; p_++)
            semitone += *p_ == '+' ? 1 : -1;
        int key = (octave_ + 1) * 12 + semitone;
        wait_ = duration();
        gate_ = wait_ / 8; // released for the last eighth
        if (key < 0 || key > 119)
            valid_ = false;
        else
            voice_.note_on(key, volume_);
        notes_++;
    }
    void set_tempo(int beats) {
        if (beats < 1)
            valid_ = false;
        else
            whole_ = 200 * 240 / beats;
    }
    void end_loop() {
        int count = number(2);
        if (depth_ == 0) {
            valid_ = false;
            return;
        }
        Loop &loop = loops_[depth_ - 1];
        if (loop.passes == 0)
            loop.passes = count;
        if (--loop.passes > 0)
            p_ = loop.body;
        else
            depth_--;
    }
    void command() {
        static const int8_t semitones[7] = {9, 11, 0, 2, 4, 5, 7}; // a to g
        char c = *p_++;
        switch (c) {
        case ' ':
            break;
        case 'a':
        case 'b':
        case 'c':
        case 'd':
        case 'e':
        case 'f':
        case 'g':
            note(semitones[c - 'a']);
            break;
        case 'r':
            wait_ = duration();
            gate_ = -1;
            break;
        case 'o':
            octave_ = number(4);
            break;
        case 'l':
            length_ = number(4);
            break;
        case 'v':
            volume_ = number(8) & 15;
            break;
        case 't':
            set_tempo(number(120));
            break;
        case '>':
            octave_++;
            break;
        case '<':
            octave_--;
            break;
        case '[':
            if (depth_ == kMaxLoops)
                valid_ = false;
            else
                loops_[depth_++] = {p_, 0};
            break;
        case ']':
            end_loop();
            break;
        default:
            valid_ = false;
        }
    }

    static const int kMaxLoops = 4;
    Voice &voice_;
    const char *p_;
    Loop loops_[kMaxLoops];
    int depth_ = 0, octave_ = 4, length_ = 4, volume_ = 8, whole_ = 400;
    int wait_ = 0, gate_ = -1, notes_ = 0;
    bool valid_ = true;
};

class Echo {
  public:
    explicit Echo(int delay)
        : size_(delay), line_(static_cast<int32_t *>(calloc(delay, sizeof(int32_t)))) {
        if (!line_)
            abort();
    }
    ~Echo() { free(line_); }
    Echo(const Echo &) = delete;
    Echo &operator=(const Echo &) = delete;

    int process(int dry) {
        int wet = line_[at_];
        line_[at_] = dry / 2 + wet / 3;
        at_ = (at_ + 1) % size_;
        return dry + wet / 2;
    }

  private:
    int size_, at_ = 0;
    int32_t *line_;
};

} // namespace synth

using namespace synth;

// Linear up to the knee, then compressed towards full scale.
static int soft_clip(int v) {
    const int knee = 24000;
    int magnitude = abs(v);
    if (magnitude > knee) {
        int over = magnitude - knee;
        magnitude = knee + over * 8 / (8 + over / 1024);
        if (magnitude > 32767)
            magnitude = 32767;
    }
    return v < 0 ? -magnitude : magnitude;
}

int main() {
    static const uint8_t drawbars[6] = {3, 8, 0, 5, 0, 2};
    FmVoice lead({1024, 60, 2400, 120}, 3, 40, 3);
    FmVoice bass({2048, 90, 1200, 300}, 1, 70, 6);
    AdditiveVoice organ({256, 16, 3600, 200}, drawbars);
    NoiseVoice drums({4096, 400, 0, 400});
    Voice *voices[] = {&lead, &bass, &organ, &drums};
    Track tracks[] = {
        Track(lead, "t150 o5 l8 v11 [e d+ e d+ e <b> d c <a4 r c e a b4.> ]2 l16 [cde g>c<]3 c1"),
        Track(bass, "t150 o2 l8 v12 [a>a<a>e< e>e<e>b< [a>a<]2 r4]4 a2."),
        Track(organ, "t150 o4 v6 l2 r1 [a e c f4 g+4]3 a1"),
        Track(drums, "t150 v7 l8 [o2c r o5c16c16 r [o2cc]2 o4c4]7"),
    };
    Track broken(lead, "o4 cde h fg");
    Echo echo(1200);
    uint32_t checksum = 0, samples = 0;
    int peak = 0, notes = 0;
    bool playing = true, valid = true;

    while (playing && valid && samples < 20 * kRate) {
        int32_t mix[kBlock];
        memset(mix, 0, sizeof mix);
        playing = false;
        for (Track &t : tracks) {
            t.tick();
            playing = playing || !t.finished();
            valid = valid && t.valid();
        }
        for (Voice *v : voices)
            v->render(mix);
        for (int32_t raw : mix) {
            int out = soft_clip(echo.process(raw / 2));
            peak = abs(out) > peak ? abs(out) : peak;
            checksum = (checksum << 1 | checksum >> 31) + static_cast<uint32_t>(out) * 2654435761u;
        }
        samples += kBlock;
    }
    for (const Track &t : tracks)
        notes += t.notes();
    while (broken.valid() && !broken.finished())
        broken.tick();

    printf("%d notes in %u samples, peak %d\n", notes, static_cast<unsigned>(samples), peak);
    printf("checksum %08x\n", static_cast<unsigned>(checksum));
    return valid && !playing && !broken.valid() && peak > 1000 ? 0 : 1;
}
