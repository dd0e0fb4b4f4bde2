// BLAKE2b and BLAKE2s from one template parameterised on a traits class, including keyed
// hashing and a two-level Merkle tree over fixed-size chunks.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct Blake2bTraits {
    using Word = uint64_t;
    static constexpr int kRounds = 12;
    static constexpr int kRot[4] = {32, 24, 16, 63};
    static constexpr Word kIv[8] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b,
                                    0xa54ff53a5f1d36f1, 0x510e527fade682d1, 0x9b05688c2b3e6c1f,
                                    0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
};

struct Blake2sTraits {
    using Word = uint32_t;
    static constexpr int kRounds = 10;
    static constexpr int kRot[4] = {16, 12, 8, 7};
    static constexpr Word kIv[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
};

static const uint8_t kSigma[10][16] = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
                                       {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
                                       {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
                                       {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
                                       {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
                                       {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
                                       {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
                                       {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
                                       {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
                                       {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

template <class Traits> class Blake2 {
  public:
    using Word = typename Traits::Word;
    static constexpr size_t kBlock = 16 * sizeof(Word);
    static constexpr size_t kMaxDigest = 8 * sizeof(Word);

    explicit Blake2(size_t digest_len, const void *key = nullptr, size_t key_len = 0)
        : digest_len_(digest_len) {
        for (int i = 0; i < 8; i++)
            h_[i] = Traits::kIv[i];
        h_[0] ^= Word(0x01010000) ^ Word(key_len << 8) ^ Word(digest_len);
        if (key_len > 0) {
            uint8_t block[kBlock] = {};
            memcpy(block, key, key_len);
            update(block, kBlock);
        }
    }

    void update(const void *data, size_t len) {
        const uint8_t *p = static_cast<const uint8_t *>(data);
        for (; len > 0; len--) {
            if (fill_ == kBlock) { // only compress once more input is known to follow
                count_ += kBlock;
                compress(false);
                fill_ = 0;
            }
            buf_[fill_++] = *p++;
        }
    }

    void finish(uint8_t *out) {
        count_ += Word(fill_);
        memset(buf_ + fill_, 0, kBlock - fill_);
        compress(true);
        for (size_t i = 0; i < digest_len_; i++)
            out[i] = uint8_t(h_[i / sizeof(Word)] >> (8 * (i % sizeof(Word))));
    }

  private:
    static Word rotr(Word v, int n) { return v >> n | v << (8 * int(sizeof(Word)) - n); }

    static void mix(Word *v, int a, int b, int c, int d, Word x, Word y) {
        v[a] += v[b] + x;
        v[d] = rotr(v[d] ^ v[a], Traits::kRot[0]);
        v[c] += v[d];
        v[b] = rotr(v[b] ^ v[c], Traits::kRot[1]);
        v[a] += v[b] + y;
        v[d] = rotr(v[d] ^ v[a], Traits::kRot[2]);
        v[c] += v[d];
        v[b] = rotr(v[b] ^ v[c], Traits::kRot[3]);
    }

    void compress(bool last) {
        Word m[16], v[16];
        for (size_t i = 0; i < 16; i++) {
            m[i] = 0;
            for (size_t k = sizeof(Word); k-- > 0;)
                m[i] = Word(m[i] << 8) | buf_[i * sizeof(Word) + k];
        }
        for (int i = 0; i < 8; i++) {
            v[i] = h_[i];
            v[i + 8] = Traits::kIv[i];
        }
        v[12] ^= count_;
        if (last)
            v[14] = ~v[14];
        for (int round = 0; round < Traits::kRounds; round++) {
            const uint8_t *s = kSigma[round % 10];
            for (int i = 0; i < 4; i++)
                mix(v, i, i + 4, i + 8, i + 12, m[s[2 * i]], m[s[2 * i + 1]]);
            for (int i = 0; i < 4; i++)
                mix(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[s[8 + 2 * i]],
                    m[s[9 + 2 * i]]);
        }
        for (int i = 0; i < 8; i++)
            h_[i] ^= v[i] ^ v[i + 8];
    }

    Word h_[8];
    Word count_ = 0;
    size_t fill_ = 0;
    size_t digest_len_;
    uint8_t buf_[kBlock];
};

using Blake2b = Blake2<Blake2bTraits>;
using Blake2s = Blake2<Blake2sTraits>;

template <class Hash> static void hash_once(const char *text, uint8_t *out) {
    Hash h(Hash::kMaxDigest);
    h.update(text, strlen(text));
    h.finish(out);
}

// Hashes every chunk with a keyed leaf hash, then the concatenated leaves with another key.
template <class Hash>
static void tree_hash(const uint8_t *data, size_t len, size_t chunk, uint8_t *root) {
    Hash top(Hash::kMaxDigest, "node", 4);
    for (size_t at = 0; at < len; at += chunk) {
        uint8_t leaf_digest[Hash::kMaxDigest];
        Hash leaf(Hash::kMaxDigest, "leaf", 4);
        leaf.update(data + at, chunk < len - at ? chunk : len - at);
        leaf.finish(leaf_digest);
        top.update(leaf_digest, sizeof leaf_digest);
    }
    top.finish(root);
}

static void print_prefix(const char *name, const uint8_t *d) {
    printf("%s %02x%02x%02x%02x\n", name, d[0], d[1], d[2], d[3]);
}

int main() {
    static const uint8_t want_b[4] = {0xba, 0x80, 0xa5, 0x3f};
    static const uint8_t want_s[4] = {0x50, 0x8c, 0x5e, 0x8c};
    uint8_t digest[Blake2b::kMaxDigest];

    hash_once<Blake2b>("abc", digest);
    if (memcmp(digest, want_b, 4) != 0)
        return 1;
    hash_once<Blake2s>("abc", digest);
    if (memcmp(digest, want_s, 4) != 0)
        return 1;

    static uint8_t image[3000];
    uint32_t x = 99;
    for (uint8_t &b : image) {
        x = x * 1664525u + 1013904223u;
        b = uint8_t(x >> 24);
    }
    uint32_t sum = 0;
    tree_hash<Blake2b>(image, sizeof image, 512, digest);
    print_prefix("blake2b tree", digest);
    for (size_t i = 0; i < Blake2b::kMaxDigest; i++)
        sum = sum * 131 + digest[i];
    tree_hash<Blake2s>(image, sizeof image, 700, digest);
    print_prefix("blake2s tree", digest);
    for (size_t i = 0; i < Blake2s::kMaxDigest; i++)
        sum = sum * 131 + digest[i];
    printf("checksum %08x\n", unsigned(sum));
    return 0;
}
