// A family of non-cryptographic checksums behind one generic interface: CRCs of any width
// from a single template, Adler-32, Fletcher-16 and FNV-1a.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

namespace checksum {

template <class T> constexpr T reflect(T v) {
    T r = 0;
    for (unsigned i = 0; i < 8 * sizeof(T); i++, v >>= 1)
        r = T(r << 1) | T(v & 1);
    return r;
}

// Reflected (LSB first) CRC with a nibble-wide table built at compile time.
template <class T, T Poly, T Init, T XorOut> class Crc {
  public:
    void add(uint8_t byte) {
        reg_ = kTable.entry[(reg_ ^ byte) & 15] ^ T(reg_ >> 4);
        reg_ = kTable.entry[(reg_ ^ (byte >> 4)) & 15] ^ T(reg_ >> 4);
    }
    uint64_t value() const { return T(reg_ ^ XorOut); }

  private:
    struct Table {
        T entry[16];
        constexpr Table() : entry() {
            for (unsigned i = 0; i < 16; i++) {
                T c = T(i);
                for (int bit = 0; bit < 4; bit++)
                    c = T(c >> 1) ^ ((c & 1) ? reflect(Poly) : T(0));
                entry[i] = c;
            }
        }
    };
    static constexpr Table kTable{};
    T reg_ = Init;
};

template <class Half, class Wide, Wide Modulus, Wide Start> class ModularSum {
  public:
    void add(uint8_t byte) {
        a_ = (a_ + byte) % Modulus;
        b_ = (b_ + a_) % Modulus;
    }
    uint64_t value() const { return uint64_t(b_) << (8 * sizeof(Half)) | a_; }

  private:
    Wide a_ = Start, b_ = 0;
};

class Fnv1a {
  public:
    void add(uint8_t byte) { h_ = (h_ ^ byte) * 0x100000001b3; }
    uint64_t value() const { return h_; }

  private:
    uint64_t h_ = 0xcbf29ce484222325;
};

using Crc16Arc = Crc<uint16_t, 0x8005, 0, 0>;
using Crc32 = Crc<uint32_t, 0x04c11db7, 0xffffffff, 0xffffffff>;
using Crc64Xz = Crc<uint64_t, 0x42f0e1eba9ea3693, ~uint64_t(0), ~uint64_t(0)>;
using Adler32 = ModularSum<uint16_t, uint32_t, 65521, 1>;
using Fletcher16 = ModularSum<uint8_t, uint16_t, 255, 0>;

template <class Algorithm> uint64_t compute(const char *data, size_t len) {
    Algorithm a;
    while (len--)
        a.add(uint8_t(*data++));
    return a.value();
}

struct Entry {
    const char *name;
    uint64_t (*compute)(const char *, size_t);
    uint64_t check; // result for the conventional input "123456789"
};

static const Entry kFamily[] = {
    {"crc16/arc", compute<Crc16Arc>, 0xbb3d},
    {"crc32", compute<Crc32>, 0xcbf43926},
    {"crc64/xz", compute<Crc64Xz>, 0x995dc9bbdf1939fa},
    {"adler32", compute<Adler32>, 0x091e01de},
    {"fletcher16", compute<Fletcher16>, 0x1ede},
    {"fnv1a", compute<Fnv1a>, 0x06d5573923c6cdfc},
};

} // namespace checksum

int main() {
    static const char text[] = "Parcel 7714: two brass hinges, one door (green), no handle.";
    static const char digits[] = "123456789";
    uint64_t all = 0;
    unsigned passed = 0;

    for (const checksum::Entry &e : checksum::kFamily) {
        if (e.compute(digits, strlen(digits)) != e.check) {
            printf("%s: wrong check value\n", e.name);
            return 1;
        }
        passed++;
        for (size_t len = 0; len < sizeof text; len += 7)
            all = (all << 9 | all >> 55) ^ e.compute(text, len);
    }
    printf("%u algorithms agree with their check values\n", passed);
    printf("checksum %08x\n", unsigned(all ^ all >> 32));
    return 0;
}
