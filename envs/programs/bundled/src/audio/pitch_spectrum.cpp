// Audio analysis: radix-2 FFT magnitude spectrum, pitch detection by normalised autocorrelation,
// linear prediction (Levinson-Durbin) and Goertzel decoding of touch tones.
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace analysis {

const double kPi = 3.14159265358979323846;

template <typename T> struct Complex {
    T re, im;

    Complex operator+(Complex o) const { return {re + o.re, im + o.im}; }
    Complex operator-(Complex o) const { return {re - o.re, im - o.im}; }
    Complex operator*(Complex o) const { return {re * o.re - im * o.im, re * o.im + im * o.re}; }
    T norm() const { return re * re + im * im; }
};

template <typename T, unsigned Bits> class Fft {
  public:
    static const unsigned kSize = 1u << Bits;

    Fft() {
        for (unsigned i = 0; i < kSize / 2; i++)
            twiddles_[i] = {static_cast<T>(cos(2 * kPi * i / kSize)),
                            static_cast<T>(-sin(2 * kPi * i / kSize))};
    }
    void forward(Complex<T> *x) const {
        bit_reverse(x);
        for (unsigned half = 1; half < kSize; half *= 2) {
            for (unsigned start = 0; start < kSize; start += 2 * half) {
                for (unsigned k = 0; k < half; k++) {
                    Complex<T> a = x[start + k];
                    Complex<T> b = x[start + k + half] * twiddles_[k * (kSize / 2 / half)];
                    x[start + k] = a + b;
                    x[start + k + half] = a - b;
                }
            }
        }
    }
    void inverse(Complex<T> *x) const {
        forward(x);
        for (unsigned i = 0; i < kSize; i++) {
            x[i].re /= kSize;
            x[i].im /= kSize;
        }
        for (unsigned i = 1; i < kSize / 2; i++) {
            Complex<T> t = x[i];
            x[i] = x[kSize - i];
            x[kSize - i] = t;
        }
    }

  private:
    static void bit_reverse(Complex<T> *x) {
        for (unsigned i = 1, j = 0; i < kSize; i++) {
            unsigned bit = kSize >> 1;
            for (; j & bit; bit >>= 1)
                j ^= bit;
            j |= bit;
            if (i < j) {
                Complex<T> t = x[i];
                x[i] = x[j];
                x[j] = t;
            }
        }
    }
    Complex<T> twiddles_[kSize / 2];
};

typedef Fft<double, 9> FrameFft;
const int kFrame = FrameFft::kSize;
const double kRate = 8000;

// The strongest spectral peak in Hz, refined by a parabola through its neighbours.
double spectral_peak(const FrameFft &fft, const double *frame) {
    Complex<double> bins[kFrame];
    double magnitude[kFrame / 2];
    for (int i = 0; i < kFrame; i++)
        bins[i] = {frame[i] * (0.5 - 0.5 * cos(2 * kPi * i / kFrame)), 0};
    fft.forward(bins);
    int best = 1;
    for (int i = 0; i < kFrame / 2; i++) {
        magnitude[i] = sqrt(bins[i].norm());
        if (i > 1 && i < kFrame / 2 - 1 && magnitude[i] > magnitude[best])
            best = i;
    }
    double left = magnitude[best - 1], right = magnitude[best + 1];
    double bend = left - 2 * magnitude[best] + right;
    double shift = fabs(bend) > 1e-12 ? (left - right) / (2 * bend) : 0;
    return (best + shift) * kRate / kFrame;
}

struct Pitch {
    double hertz, clarity; // hertz is 0 if the frame is unvoiced
};

// Linear autocorrelation of half a frame, by way of the power spectrum.
static void autocorrelate(const FrameFft &fft, const double *frame, double *out) {
    Complex<double> bins[kFrame];
    for (int i = 0; i < kFrame; i++)
        bins[i] = {i < kFrame / 2 ? frame[i] : 0, 0};
    fft.forward(bins);
    for (Complex<double> &b : bins)
        b = {b.norm(), 0};
    fft.inverse(bins);
    for (int i = 0; i < kFrame / 2; i++)
        out[i] = bins[i].re;
}

// The first clear peak of 2 r(lag) / (energy of both overlapping parts).
Pitch detect_pitch(const FrameFft &fft, const double *frame) {
    const int half = kFrame / 2, longest = half * 2 / 3;
    double r[kFrame / 2], nsdf[kFrame / 2];
    autocorrelate(fft, frame, r);
    double energy = 2 * r[0];
    for (int lag = 0; lag <= longest; lag++) {
        nsdf[lag] = energy > 1e-9 ? 2 * r[lag] / energy : 0;
        energy -= frame[lag] * frame[lag] + frame[half - 1 - lag] * frame[half - 1 - lag];
    }
    double threshold = 0;
    int lag = 1;
    while (lag < longest && nsdf[lag] > 0) // leave the peak at lag zero
        lag++;
    for (int i = lag; i < longest; i++)
        threshold = fmax(threshold, nsdf[i] * 0.85);
    if (threshold < 0.4)
        return {0, threshold / 0.85};
    for (; lag < longest; lag++) {
        double a = nsdf[lag - 1], b = nsdf[lag], c = nsdf[lag + 1];
        if (b > threshold && b >= a && b > c) {
            double shift = (a - c) / (2 * (a - 2 * b + c));
            return {kRate / (lag + shift), b};
        }
    }
    return {0, 0};
}

// Solves the normal equations for a predictor; returns the ratio of the residual energy.
double levinson_durbin(const double *r, int order, double *a) {
    double error = r[0];
    memset(a, 0, sizeof *a * static_cast<size_t>(order + 1));
    a[0] = 1;
    if (error < 1e-12)
        return 0;
    for (int i = 1; i <= order; i++) {
        double acc = 0;
        for (int j = 0; j < i; j++)
            acc += a[j] * r[i - j];
        double k = -acc / error;
        for (int j = 0; j <= i / 2; j++) {
            double low = a[j], high = a[i - j];
            a[j] = low + k * high;
            a[i - j] = high + k * low;
        }
        error *= 1 - k * k;
    }
    return error / r[0];
}

class Goertzel {
  public:
    explicit Goertzel(double hertz) : coefficient_(2 * cos(2 * kPi * hertz / kRate)) {}
    double power(const double *x, int n) const {
        double s1 = 0, s2 = 0;
        for (int i = 0; i < n; i++) {
            double s0 = x[i] + coefficient_ * s1 - s2;
            s2 = s1;
            s1 = s0;
        }
        return s1 * s1 + s2 * s2 - coefficient_ * s1 * s2;
    }

  private:
    double coefficient_;
};

static const double kRowHertz[4] = {697, 770, 852, 941}, kColumnHertz[4] = {1209, 1336, 1477, 1633};
static const char kKeys[] = "123A456B789C*0#D";

static int dominant(const double *hertz, const double *x, int n, double *power) {
    int best = 0;
    *power = 0;
    for (int i = 0; i < 4; i++) {
        double p = Goertzel(hertz[i]).power(x, n);
        if (p > *power) {
            *power = p;
            best = i;
        }
    }
    return best;
}

// Returns the key, or a blank if there is no valid pair of tones.
char decode_touch_tone(const double *x, int n) {
    double energy = 0, row_power, column_power;
    for (int i = 0; i < n; i++)
        energy += x[i] * x[i];
    int row = dominant(kRowHertz, x, n, &row_power),
        column = dominant(kColumnHertz, x, n, &column_power);
    if (row_power + column_power < 0.35 * energy * n || row_power < 0.1 * column_power)
        return ' ';
    return kKeys[row * 4 + column];
}

// "A4", "F#3", with the deviation in cents.
void note_name(double hertz, char *out, size_t size) {
    static const char names[] = "C C#D D#E F F#G G#A A#B ";
    double semitones = 69 + 12 * log2(hertz / 440);
    int key = static_cast<int>(floor(semitones + 0.5));
    int cents = static_cast<int>(floor((semitones - key) * 100 + 0.5));
    const char *name = &names[key % 12 * 2];
    snprintf(out, size, "%c%s%d%+d", name[0], name[1] == '#' ? "#" : "", key / 12 - 1, cents);
}

} // namespace analysis

using namespace analysis;

static uint32_t g_noise = 0x1234567;

static double noise() {
    g_noise = g_noise * 1664525u + 1013904223u;
    return (g_noise >> 8) / 8388608.0 - 1;
}

// A damped resonance excited by pulses: something like a vowel. Pulses between two samples are
// shared by both of them.
static void make_vowel(double *x, int n, double pitch, double formant) {
    double y1 = 0, y2 = 0, phase = 0, carry = 0, c = 2 * 0.93 * cos(2 * kPi * formant / kRate);
    for (int i = 0; i < n; i++) {
        double pulse = carry + 0.002 * noise();
        carry = 0;
        phase += pitch / kRate;
        if (phase >= 1) {
            phase -= 1;
            double late = phase / (pitch / kRate);
            pulse += late;
            carry = 1 - late;
        }
        double y = pulse + c * y1 - 0.93 * 0.93 * y2;
        y2 = y1;
        x[i] = y1 = y;
    }
}

static uint32_t mix(uint32_t h, double v) { // to about six digits
    int32_t q = static_cast<int32_t>(floor(v * 4096 + 0.5));
    return (h ^ static_cast<uint32_t>(q)) * 0x5bd1e995u + (h >> 15);
}

int main() {
    static const FrameFft fft;
    static const double pitches[] = {110, 146.83, 207.65, 293.66, 415.3};
    double frame[kFrame], r[kFrame / 2], predictor[9];
    uint32_t checksum = 7;
    int correct = 0;
    char name[16], names[80] = "";

    for (int i = 0; i < 5; i++) {
        make_vowel(frame, kFrame, pitches[i], 600 + 250 * i);
        Pitch p = detect_pitch(fft, frame);
        autocorrelate(fft, frame, r);
        double residual = levinson_durbin(r, 8, predictor);
        correct += fabs(p.hertz - pitches[i]) < pitches[i] * 0.02;
        checksum = mix(mix(mix(checksum, p.hertz), p.clarity), residual);
        for (double a : predictor)
            checksum = mix(checksum, a);
        checksum = mix(checksum, spectral_peak(fft, frame));
        note_name(p.hertz > 0 ? p.hertz : 1, name, sizeof name);
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? " " : "", name);
    }
    for (double &x : frame)
        x = noise();
    bool noise_rejected =
        detect_pitch(fft, frame).hertz == 0 && decode_touch_tone(frame, 205) == ' ';

    const char dialled[] = "0815#A*37";
    char heard[sizeof dialled] = "";
    for (size_t k = 0; k + 1 < sizeof dialled; k++) {
        int key = static_cast<int>(strchr(kKeys, dialled[k]) - kKeys);
        for (int i = 0; i < 205; i++) {
            double t = 2 * kPi * i / kRate;
            frame[i] =
                sin(kRowHertz[key / 4] * t) + 0.8 * sin(kColumnHertz[key % 4] * t) + 0.3 * noise();
        }
        heard[k] = decode_touch_tone(frame, 205);
        checksum = checksum * 31 + static_cast<unsigned char>(heard[k]);
    }
    printf("pitches %s, %d of 5 correct\n", names, correct);
    printf("dialled %s, heard %s\n", dialled, heard);
    printf("checksum %08x\n", static_cast<unsigned>(checksum));
    return correct == 5 && noise_rejected && strcmp(dialled, heard) == 0 ? 0 : 1;
}
