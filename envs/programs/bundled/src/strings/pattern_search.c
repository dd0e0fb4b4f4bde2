// Exact substring search behind one interface: naive, Knuth-Morris-Pratt, Horspool and
// Rabin-Karp matchers, and an Aho-Corasick automaton for whole dictionaries.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct matcher matcher;

typedef struct {
    const char *name;
    bool (*prepare)(matcher *m);
    // Finds the first match at or after from, or SIZE_MAX.
    size_t (*next)(const matcher *m, const uint8_t *text, size_t len, size_t from);
} matcher_ops;

struct matcher {
    const matcher_ops *ops;
    const uint8_t *pat;
    size_t len;
    union {
        size_t *fail;     // Knuth-Morris-Pratt border lengths
        uint8_t *skip;    // Horspool shifts, capped at 255
        uint32_t *hashes; // Rabin-Karp: pattern hash, leading weight
    } u;
};

static bool naive_prepare(matcher *m) {
    m->u.fail = NULL;
    return true;
}

static size_t naive_next(const matcher *m, const uint8_t *text, size_t len, size_t from) {
    for (size_t i = from; i + m->len <= len; i++)
        if (memcmp(text + i, m->pat, m->len) == 0)
            return i;
    return SIZE_MAX;
}

static bool kmp_prepare(matcher *m) {
    size_t *fail = malloc((m->len + 1) * sizeof *fail), k = 0;
    if (!fail)
        return false;
    fail[0] = fail[1] = 0;
    for (size_t i = 1; i < m->len; i++) {
        while (k > 0 && m->pat[k] != m->pat[i])
            k = fail[k];
        if (m->pat[k] == m->pat[i])
            k++;
        fail[i + 1] = k;
    }
    m->u.fail = fail;
    return true;
}

static size_t kmp_next(const matcher *m, const uint8_t *text, size_t len, size_t from) {
    size_t k = 0;
    for (size_t i = from; i < len; i++) {
        while (k > 0 && m->pat[k] != text[i])
            k = m->u.fail[k];
        if (m->pat[k] == text[i])
            k++;
        if (k == m->len)
            return i + 1 - k;
    }
    return SIZE_MAX;
}

static bool horspool_prepare(matcher *m) {
    uint8_t *skip = malloc(256);
    if (!skip)
        return false;
    memset(skip, m->len < 255 ? (int)m->len : 255, 256);
    for (size_t i = 0; i + 1 < m->len; i++) {
        size_t shift = m->len - 1 - i;
        if (shift < 255)
            skip[m->pat[i]] = (uint8_t)shift;
    }
    m->u.skip = skip;
    return true;
}

static size_t horspool_next(const matcher *m, const uint8_t *text, size_t len, size_t from) {
    size_t last = m->len - 1;
    for (size_t i = from; i + m->len <= len; i += m->u.skip[text[i + last]])
        if (text[i + last] == m->pat[last] && memcmp(text + i, m->pat, last) == 0)
            return i;
    return SIZE_MAX;
}

enum { RK_BASE = 257 };

static uint32_t rk_hash(const uint8_t *s, size_t n) {
    uint32_t h = 0;
    for (size_t i = 0; i < n; i++)
        h = h * RK_BASE + s[i];
    return h;
}

static bool rk_prepare(matcher *m) {
    uint32_t *h = malloc(2 * sizeof *h);
    if (!h)
        return false;
    h[0] = rk_hash(m->pat, m->len);
    h[1] = 1;
    for (size_t i = 1; i < m->len; i++)
        h[1] *= RK_BASE;
    m->u.hashes = h;
    return true;
}

static size_t rk_next(const matcher *m, const uint8_t *text, size_t len, size_t from) {
    if (from + m->len > len)
        return SIZE_MAX;
    uint32_t h = rk_hash(text + from, m->len);
    for (size_t i = from;; i++) {
        if (h == m->u.hashes[0] && memcmp(text + i, m->pat, m->len) == 0)
            return i;
        if (i + m->len >= len)
            return SIZE_MAX;
        h = (h - text[i] * m->u.hashes[1]) * RK_BASE + text[i + m->len];
    }
}

static const matcher_ops engines[] = {
    {"naive", naive_prepare, naive_next},
    {"kmp", kmp_prepare, kmp_next},
    {"horspool", horspool_prepare, horspool_next},
    {"rabin-karp", rk_prepare, rk_next},
};

bool matcher_init(matcher *m, const matcher_ops *ops, const char *pattern) {
    m->ops = ops;
    m->pat = (const uint8_t *)pattern;
    m->len = strlen(pattern);
    return m->len > 0 && ops->prepare(m);
}

void matcher_release(matcher *m) {
    free(m->u.fail);
    m->u.fail = NULL;
}

// Counts matches, overlapping ones included, and mixes their positions into *hash.
size_t matcher_count(const matcher *m, const uint8_t *text, size_t len, uint32_t *hash) {
    size_t count = 0, at = 0;
    while ((at = m->ops->next(m, text, len, at)) != SIZE_MAX) {
        *hash = (*hash ^ (uint32_t)at) * 0x01000193u;
        count++;
        at++;
    }
    return count;
}

// ---- Aho-Corasick -----------------------------------------------------------------------

#define AC_ALPHABET 27

typedef struct {
    uint16_t next[AC_ALPHABET];
    uint16_t fail;
    uint16_t report; // nearest state on the fail chain that ends a word, 0 if none
    int16_t word;
} ac_state;

typedef struct {
    ac_state *states;
    size_t used, cap;
} automaton;

static int ac_symbol(uint8_t c) {
    return c >= 'a' && c <= 'z' ? c - 'a' + 1 : 0;
}

static int ac_new_state(automaton *ac) {
    if (ac->used == ac->cap) {
        size_t cap = ac->cap ? ac->cap * 2 : 16;
        ac_state *grown = realloc(ac->states, cap * sizeof *grown);
        if (!grown || cap > UINT16_MAX)
            return -1;
        ac->states = grown;
        ac->cap = cap;
    }
    memset(&ac->states[ac->used], 0, sizeof *ac->states);
    ac->states[ac->used].word = -1;
    return (int)ac->used++;
}

bool ac_add(automaton *ac, const char *word, int id) {
    size_t s = 0;
    if (ac->used == 0 && ac_new_state(ac) < 0)
        return false;
    for (; *word; word++) {
        int sym = ac_symbol((uint8_t)*word);
        if (ac->states[s].next[sym] == 0) {
            int fresh = ac_new_state(ac);
            if (fresh < 0)
                return false;
            ac->states[s].next[sym] = (uint16_t)fresh;
        }
        s = ac->states[s].next[sym];
    }
    ac->states[s].word = (int16_t)id;
    return true;
}

// Breadth first: turns the trie into a complete transition table.
bool ac_compile(automaton *ac) {
    uint16_t *queue = malloc(ac->used * sizeof *queue);
    size_t head = 0, tail = 0;
    if (!queue)
        return false;
    queue[tail++] = 0;
    while (head < tail) {
        uint16_t s = queue[head++];
        ac_state *st = &ac->states[s];
        const ac_state *back = &ac->states[st->fail];
        st->report = s == 0 ? 0 : back->word >= 0 ? st->fail : back->report;
        for (int c = 0; c < AC_ALPHABET; c++) {
            uint16_t to = st->next[c];
            uint16_t detour = s == 0 ? 0 : back->next[c];
            if (to != 0) {
                ac->states[to].fail = detour;
                queue[tail++] = to;
            } else {
                st->next[c] = detour;
            }
        }
    }
    free(queue);
    return true;
}

void ac_scan(const automaton *ac, const uint8_t *text, size_t len,
             void (*emit)(int word, size_t end, void *ctx), void *ctx) {
    size_t s = 0;
    for (size_t i = 0; i < len; i++) {
        s = ac->states[s].next[ac_symbol(text[i])];
        for (size_t r = s; r != 0; r = ac->states[r].report)
            if (ac->states[r].word >= 0)
                emit(ac->states[r].word, i + 1, ctx);
    }
}

// ---- driver -----------------------------------------------------------------------------

static const char *const words[] = {"he", "she", "his", "hers", "there", "the", "sea", "seashells"};

enum { WORDS = sizeof words / sizeof *words, TEXT_LEN = 6000 };

static void tally(int word, size_t end, void *ctx) {
    uint32_t *count = ctx;
    (void)end;
    count[word]++;
}

static void make_text(uint8_t *text) {
    uint32_t seed = 77;
    size_t at = 0;
    while (at < TEXT_LEN) {
        seed = seed * 1664525u + 1013904223u;
        const char *w = words[(seed >> 20) % WORDS];
        for (; *w && at < TEXT_LEN; w++)
            text[at++] = (uint8_t)*w;
        if (seed >> 30 && at < TEXT_LEN)
            text[at++] = ' ';
    }
}

int main(void) {
    static uint8_t text[TEXT_LEN];
    uint32_t counts[WORDS] = {0}, total = 0, hash[4] = {1, 1, 1, 1};
    automaton ac = {0};
    int bad = 0;

    make_text(text);
    for (int w = 0; w < WORDS; w++)
        bad += !ac_add(&ac, words[w], w);
    bad += !ac_compile(&ac);
    if (bad)
        return 2;
    ac_scan(&ac, text, TEXT_LEN, tally, counts);
    for (int e = 0; e < 4; e++) {
        for (int w = 0; w < WORDS; w++) {
            matcher m;
            if (!matcher_init(&m, &engines[e], words[w]))
                return 2;
            bad += matcher_count(&m, text, TEXT_LEN, &hash[e]) != counts[w];
            matcher_release(&m);
        }
        bad += hash[e] != hash[0];
        printf("%s %08x\n", engines[e].name, hash[e]);
    }
    for (int w = 0; w < WORDS; w++)
        total += counts[w];
    printf("%u hits in %zu states\n", total, ac.used);
    free(ac.states);
    printf("checksum %08x\n", hash[0] ^ total);
    return bad != 0;
}
