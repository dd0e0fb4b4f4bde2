// Arbitrary precision integers on 32-bit limbs: signed add and subtract, schoolbook and
// Karatsuba products, Knuth division, modular powers, gcd, roots, decimal and hex text.
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint32_t limb;
typedef uint64_t wide;

#define LIMB_BITS 32
#define KARATSUBA_MIN 24
#define DEC_CHUNK 1000000000u

typedef struct {
    limb *d;    // little endian magnitude
    size_t len; // no leading zero limb; zero has len == 0
    size_t cap;
    bool neg;
} bigint;

#define BIGINT_INIT {NULL, 0, 0, false}

static void *checked_realloc(void *p, size_t bytes) {
    void *q = realloc(p, bytes);
    if (!q) {
        fputs("bigint: out of memory\n", stderr);
        exit(3);
    }
    return q;
}

// ---- storage ----------------------------------------------------------------------------

static void reserve(bigint *x, size_t limbs) {
    if (limbs <= x->cap)
        return;
    size_t cap = x->cap ? x->cap : 4;
    while (cap < limbs)
        cap += cap / 2;
    x->d = checked_realloc(x->d, cap * sizeof *x->d);
    x->cap = cap;
}

static void normalise(bigint *x) {
    while (x->len > 0 && x->d[x->len - 1] == 0)
        x->len--;
    if (x->len == 0)
        x->neg = false;
}

void big_free(bigint *x) {
    free(x->d);
    *x = (bigint)BIGINT_INIT;
}

void big_swap(bigint *a, bigint *b) {
    bigint t = *a;
    *a = *b;
    *b = t;
}

void big_copy(bigint *dst, const bigint *src) {
    if (dst == src)
        return;
    reserve(dst, src->len);
    if (src->len)
        memcpy(dst->d, src->d, src->len * sizeof(limb));
    dst->len = src->len;
    dst->neg = src->neg;
}

void big_set(bigint *x, int64_t value) {
    uint64_t mag = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    reserve(x, 2);
    x->d[0] = (limb)mag;
    x->d[1] = (limb)(mag >> LIMB_BITS);
    x->len = 2;
    x->neg = value < 0;
    normalise(x);
}

bool big_is_zero(const bigint *x) {
    return x->len == 0;
}

static bool is_odd(const bigint *x) {
    return x->len > 0 && (x->d[0] & 1);
}

size_t big_bits(const bigint *x) {
    if (x->len == 0)
        return 0;
    size_t bits = (x->len - 1) * LIMB_BITS;
    for (limb top = x->d[x->len - 1]; top; top >>= 1)
        bits++;
    return bits;
}

static bool test_bit(const bigint *x, size_t i) {
    return i / LIMB_BITS < x->len && (x->d[i / LIMB_BITS] >> (i % LIMB_BITS) & 1);
}

// ---- comparison, addition ---------------------------------------------------------------

static int cmp_mag(const limb *a, size_t na, const limb *b, size_t nb) {
    if (na != nb)
        return na < nb ? -1 : 1;
    while (na-- > 0)
        if (a[na] != b[na])
            return a[na] < b[na] ? -1 : 1;
    return 0;
}

int big_cmp(const bigint *a, const bigint *b) {
    if (a->neg != b->neg)
        return a->neg ? -1 : 1;
    int c = cmp_mag(a->d, a->len, b->d, b->len);
    return a->neg ? -c : c;
}

// r[0..na) = a + b with na >= nb; returns the carry. r may alias either operand.
static limb add_limbs(limb *r, const limb *a, size_t na, const limb *b, size_t nb) {
    wide carry = 0;
    for (size_t i = 0; i < na; i++) {
        carry += (wide)a[i] + (i < nb ? b[i] : 0);
        r[i] = (limb)carry;
        carry >>= LIMB_BITS;
    }
    return (limb)carry;
}

// r[0..na) = a - b for a >= b; returns the final borrow (0 when the precondition holds).
static limb sub_limbs(limb *r, const limb *a, size_t na, const limb *b, size_t nb) {
    limb borrow = 0;
    for (size_t i = 0; i < na; i++) {
        wide t = (wide)a[i] - (i < nb ? b[i] : 0) - borrow;
        r[i] = (limb)t;
        borrow = (limb)(t >> LIMB_BITS) & 1;
    }
    return borrow;
}

static void add_signed(bigint *r, const bigint *a, const bigint *b, bool flip_b) {
    const bigint *big = a, *small = b;
    bool big_neg = a->neg, small_neg = b->neg != flip_b;
    if (cmp_mag(a->d, a->len, b->d, b->len) < 0) {
        big = b;
        small = a;
        big_neg = small_neg;
        small_neg = a->neg;
    }
    size_t n = big->len;
    reserve(r, n + 1);
    if (big_neg == small_neg) {
        r->d[n] = add_limbs(r->d, big->d, n, small->d, small->len);
        r->len = n + 1;
    } else {
        sub_limbs(r->d, big->d, n, small->d, small->len);
        r->len = n;
    }
    r->neg = big_neg;
    normalise(r);
}

void big_add(bigint *r, const bigint *a, const bigint *b) {
    add_signed(r, a, b, false);
}
void big_sub(bigint *r, const bigint *a, const bigint *b) {
    add_signed(r, a, b, true);
}

static void add_small(bigint *x, limb v) {
    bigint t = {&v, 1, 1, false};
    if (v != 0)
        big_add(x, x, &t);
}

// ---- multiplication ---------------------------------------------------------------------

static void mul_school(limb *r, const limb *a, size_t na, const limb *b, size_t nb) {
    memset(r, 0, (na + nb) * sizeof *r);
    for (size_t i = 0; i < na; i++) {
        wide carry = 0;
        for (size_t j = 0; j < nb; j++) {
            carry += (wide)a[i] * b[j] + r[i + j];
            r[i + j] = (limb)carry;
            carry >>= LIMB_BITS;
        }
        r[i + nb] = (limb)carry;
    }
}

static void propagate(limb *r, limb carry) {
    for (; carry; r++) {
        wide t = (wide)*r + carry;
        *r = (limb)t;
        carry = (limb)(t >> LIMB_BITS);
    }
}

// r[0..2n) = a[0..n) * b[0..n); scratch needs 4n + 128 limbs.
static void mul_karatsuba(limb *r, const limb *a, const limb *b, size_t n, limb *scratch) {
    if (n < KARATSUBA_MIN) {
        mul_school(r, a, n, b, n);
        return;
    }
    size_t lo = n / 2, hi = n - lo, m = hi + 1;
    limb *sa = r, *sb = r + m;
    limb *mid = scratch, *rest = scratch + 2 * m;

    sa[hi] = add_limbs(sa, a + lo, hi, a, lo);
    sb[hi] = add_limbs(sb, b + lo, hi, b, lo);
    mul_karatsuba(mid, sa, sb, m, rest);
    mul_karatsuba(r, a, b, lo, rest);
    mul_karatsuba(r + 2 * lo, a + lo, b + lo, hi, rest);
    sub_limbs(mid, mid, 2 * m, r, 2 * lo);
    sub_limbs(mid, mid, 2 * m, r + 2 * lo, 2 * hi);
    size_t used = 2 * m;
    while (used > 0 && mid[used - 1] == 0)
        used--;
    limb carry = add_limbs(r + lo, r + lo, used, mid, used);
    propagate(r + lo + used, carry);
}

void big_mul(bigint *r, const bigint *a, const bigint *b) {
    if (a->len < b->len) {
        const bigint *t = a;
        a = b;
        b = t;
    }
    if (b->len == 0) {
        big_set(r, 0);
        return;
    }
    bigint out = BIGINT_INIT;
    reserve(&out, a->len + b->len);
    out.len = a->len + b->len;
    out.neg = a->neg != b->neg;
    if (b->len < KARATSUBA_MIN) {
        mul_school(out.d, a->d, a->len, b->d, b->len);
    } else {
        // Cut the longer operand into pieces as long as the shorter one.
        size_t n = b->len;
        limb *work = checked_realloc(NULL, (7 * n + 128) * sizeof *work);
        limb *piece = work, *prod = work + n, *scratch = work + 3 * n;
        memset(out.d, 0, out.len * sizeof(limb));
        for (size_t off = 0; off < a->len; off += n) {
            size_t k = a->len - off < n ? a->len - off : n;
            memset(piece, 0, n * sizeof *piece);
            memcpy(piece, a->d + off, k * sizeof *piece);
            mul_karatsuba(prod, piece, b->d, n, scratch);
            limb carry = add_limbs(out.d + off, out.d + off, k + n, prod, k + n);
            if (carry)
                propagate(out.d + off + k + n, carry);
        }
        free(work);
    }
    normalise(&out);
    big_swap(r, &out);
    big_free(&out);
}

static void mul_small(bigint *x, limb f) {
    wide carry = 0;
    for (size_t i = 0; i < x->len; i++) {
        carry += (wide)x->d[i] * f;
        x->d[i] = (limb)carry;
        carry >>= LIMB_BITS;
    }
    if (carry) {
        reserve(x, x->len + 1);
        x->d[x->len++] = (limb)carry;
    }
    normalise(x);
}

// ---- shifts, division -------------------------------------------------------------------

void big_shl(bigint *r, const bigint *a, size_t bits) {
    size_t limbs = bits / LIMB_BITS, s = bits % LIMB_BITS, n = a->len;
    bool neg = a->neg;
    reserve(r, n + limbs + 1);
    r->d[n + limbs] = 0;
    for (size_t i = n; i-- > 0;) {
        wide t = (wide)a->d[i] << s;
        r->d[i + limbs + 1] |= (limb)(t >> LIMB_BITS);
        r->d[i + limbs] = (limb)t;
    }
    memset(r->d, 0, limbs * sizeof(limb));
    r->len = n + limbs + 1;
    r->neg = neg;
    normalise(r);
}

void big_shr(bigint *r, const bigint *a, size_t bits) {
    size_t limbs = bits / LIMB_BITS, s = bits % LIMB_BITS;
    if (limbs >= a->len) {
        big_set(r, 0);
        return;
    }
    size_t n = a->len - limbs;
    bool neg = a->neg;
    reserve(r, n);
    for (size_t i = 0; i < n; i++) {
        wide t = a->d[i + limbs];
        if (i + limbs + 1 < a->len)
            t |= (wide)a->d[i + limbs + 1] << LIMB_BITS;
        r->d[i] = (limb)(t >> s);
    }
    r->len = n;
    r->neg = neg;
    normalise(r);
}

static limb divmod_small(bigint *x, limb divisor) {
    wide rem = 0;
    for (size_t i = x->len; i-- > 0;) {
        rem = rem << LIMB_BITS | x->d[i];
        x->d[i] = (limb)(rem / divisor);
        rem %= divisor;
    }
    normalise(x);
    return (limb)rem;
}

// Knuth's algorithm D on a normalised dividend u (n + m + 1 limbs) and divisor v (n limbs).
static void divide_limbs(limb *q, limb *u, size_t m, const limb *v, size_t n) {
    const wide base = (wide)1 << LIMB_BITS;
    for (size_t j = m + 1; j-- > 0;) {
        wide num = (wide)u[j + n] << LIMB_BITS | u[j + n - 1];
        wide qhat = num / v[n - 1], rhat = num % v[n - 1];
        while (qhat >= base || qhat * v[n - 2] > (rhat << LIMB_BITS | u[j + n - 2])) {
            qhat--;
            rhat += v[n - 1];
            if (rhat >= base)
                break;
        }
        wide carry = 0;
        limb borrow = 0;
        for (size_t i = 0; i < n; i++) {
            carry += qhat * v[i];
            wide t = (wide)u[i + j] - (limb)carry - borrow;
            u[i + j] = (limb)t;
            borrow = (limb)(t >> LIMB_BITS) & 1;
            carry >>= LIMB_BITS;
        }
        wide t = (wide)u[j + n] - carry - borrow;
        u[j + n] = (limb)t;
        if (t >> LIMB_BITS) {
            qhat--;
            u[j + n] += add_limbs(u + j, u + j, n, v, n);
        }
        q[j] = (limb)qhat;
    }
}

// Truncated division: a == q * b + r with |r| < |b| and r carrying the sign of a.
bool big_divmod(bigint *q, bigint *r, const bigint *a, const bigint *b) {
    if (b->len == 0)
        return false;
    bool qneg = a->neg != b->neg, rneg = a->neg;
    bigint quo = BIGINT_INIT, rem = BIGINT_INIT;

    if (cmp_mag(a->d, a->len, b->d, b->len) < 0) {
        big_copy(&rem, a);
    } else if (b->len == 1) {
        big_copy(&quo, a);
        big_set(&rem, divmod_small(&quo, b->d[0]));
    } else {
        size_t n = b->len, m = a->len - n;
        size_t shift = n * LIMB_BITS - big_bits(b);
        bigint v = BIGINT_INIT;
        big_shl(&v, b, shift);
        big_shl(&rem, a, shift);
        reserve(&rem, a->len + 1);
        while (rem.len < a->len + 1)
            rem.d[rem.len++] = 0;
        reserve(&quo, m + 1);
        quo.len = m + 1;
        divide_limbs(quo.d, rem.d, m, v.d, n);
        rem.len = n;
        normalise(&rem);
        big_shr(&rem, &rem, shift);
        big_free(&v);
    }
    quo.neg = qneg;
    rem.neg = rneg;
    normalise(&quo);
    normalise(&rem);
    if (q)
        big_swap(q, &quo);
    if (r)
        big_swap(r, &rem);
    big_free(&quo);
    big_free(&rem);
    return true;
}

// ---- number theory ----------------------------------------------------------------------

void big_modpow(bigint *r, const bigint *base, const bigint *exp, const bigint *mod) {
    bigint acc = BIGINT_INIT, b = BIGINT_INIT;
    big_set(&acc, 1);
    big_divmod(NULL, &b, base, mod);
    for (size_t i = big_bits(exp); i-- > 0;) {
        big_mul(&acc, &acc, &acc);
        big_divmod(NULL, &acc, &acc, mod);
        if (test_bit(exp, i)) {
            big_mul(&acc, &acc, &b);
            big_divmod(NULL, &acc, &acc, mod);
        }
    }
    big_swap(r, &acc);
    big_free(&acc);
    big_free(&b);
}

void big_gcd(bigint *r, const bigint *a, const bigint *b) {
    bigint x = BIGINT_INIT, y = BIGINT_INIT;
    big_copy(&x, a);
    big_copy(&y, b);
    x.neg = y.neg = false;
    while (!big_is_zero(&y)) {
        big_divmod(NULL, &x, &x, &y);
        big_swap(&x, &y);
    }
    big_swap(r, &x);
    big_free(&x);
    big_free(&y);
}

// Integer square root by Newton's iteration from above.
void big_isqrt(bigint *r, const bigint *a) {
    bigint x = BIGINT_INIT, y = BIGINT_INIT;
    big_set(&x, 1);
    big_shl(&x, &x, (big_bits(a) + 1) / 2);
    for (;;) {
        big_divmod(&y, NULL, a, &x);
        big_add(&y, &y, &x);
        big_shr(&y, &y, 1);
        if (big_cmp(&y, &x) >= 0)
            break;
        big_swap(&x, &y);
    }
    big_swap(r, &x);
    big_free(&x);
    big_free(&y);
}

static bool witness(const bigint *n, const bigint *n1, const bigint *odd, size_t twos, limb base) {
    bigint x = BIGINT_INIT, one = BIGINT_INIT;
    bool composite = true;
    big_set(&one, 1);
    big_set(&x, base);
    big_modpow(&x, &x, odd, n);
    if (big_cmp(&x, &one) == 0 || big_cmp(&x, n1) == 0)
        composite = false;
    for (size_t i = 1; composite && i < twos; i++) {
        big_mul(&x, &x, &x);
        big_divmod(NULL, &x, &x, n);
        if (big_cmp(&x, n1) == 0)
            composite = false;
    }
    big_free(&x);
    big_free(&one);
    return composite;
}

bool big_probably_prime(const bigint *n) {
    static const uint8_t bases[] = {2, 3, 5, 7, 11, 13};
    if (n->neg || n->len == 0 || (n->len == 1 && n->d[0] < 17))
        return n->len == 1 && !n->neg && strchr("\2\3\5\7\13\15", (int)n->d[0]) != NULL;
    if (!is_odd(n))
        return false;
    bigint n1 = BIGINT_INIT, odd = BIGINT_INIT;
    bool prime = true;
    size_t twos = 0;
    big_set(&n1, 1);
    big_sub(&n1, n, &n1);
    while (!test_bit(&n1, twos))
        twos++;
    big_shr(&odd, &n1, twos);
    for (size_t i = 0; prime && i < sizeof bases; i++)
        prime = !witness(n, &n1, &odd, twos, bases[i]);
    big_free(&n1);
    big_free(&odd);
    return prime;
}

// ---- text -------------------------------------------------------------------------------

static int digit_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return INT_MAX;
}

// Accepts an optional sign and either decimal digits or 0x with hex digits.
bool big_parse(bigint *x, const char *s) {
    bool neg = *s == '-';
    limb radix = 10;
    if (*s == '-' || *s == '+')
        s++;
    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
        radix = 16;
        s += 2;
    }
    if (!*s)
        return false;
    big_set(x, 0);
    for (; *s; s++) {
        if (*s == '_')
            continue;
        int d = digit_value(*s);
        if (d >= (int)radix)
            return false;
        mul_small(x, radix);
        add_small(x, (limb)d);
    }
    x->neg = neg && x->len > 0;
    return true;
}

// Returns a heap allocated string.
char *big_format(const bigint *x) {
    size_t cap = big_bits(x) * 31 / 100 + 12, pos = cap;
    char *buf = checked_realloc(NULL, cap + 1);
    bigint t = BIGINT_INIT;
    big_copy(&t, x);
    buf[pos] = '\0';
    do {
        limb chunk = divmod_small(&t, DEC_CHUNK);
        for (int i = 0; i < 9 && (chunk || !big_is_zero(&t)); i++, chunk /= 10)
            buf[--pos] = (char)('0' + chunk % 10);
    } while (!big_is_zero(&t));
    if (pos == cap)
        buf[--pos] = '0';
    if (x->neg)
        buf[--pos] = '-';
    memmove(buf, buf + pos, cap - pos + 1);
    big_free(&t);
    return buf;
}

// ---- driver -----------------------------------------------------------------------------

static uint64_t rng = 0x9e3779b97f4a7c15u;

static limb next_limb(void) {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (limb)(rng >> 16);
}

static void big_random(bigint *x, size_t limbs) {
    reserve(x, limbs);
    for (size_t i = 0; i < limbs; i++) {
        x->d[i] = next_limb();
        if (x->d[i] % 5 == 0)
            x->d[i] >>= 24;
    }
    x->len = limbs;
    x->neg = next_limb() & 1;
    normalise(x);
}

static uint32_t hash_big(const bigint *x, uint32_t h) {
    for (size_t i = 0; i < x->len; i++)
        h = (h << 5 | h >> 27) * 0x01000193u ^ x->d[i];
    return h + x->neg;
}

// Random identities: (a / b) * b + a % b == a, (a + b)(a - b) == a^2 - b^2, text round trip.
static int check_identities(uint32_t *h) {
    bigint a = BIGINT_INIT, b = BIGINT_INIT, q = BIGINT_INIT, r = BIGINT_INIT, t = BIGINT_INIT;
    int bad = 0;
    for (int i = 0; i < 40; i++) {
        big_random(&a, 1 + next_limb() % 80);
        big_random(&b, 1 + next_limb() % 60);
        add_small(&b, b.len == 0);
        big_divmod(&q, &r, &a, &b);
        *h = hash_big(&q, *h);
        big_mul(&t, &q, &b);
        big_add(&t, &t, &r);
        bad += big_cmp(&t, &a) != 0;

        big_add(&q, &a, &b);
        big_sub(&r, &a, &b);
        big_mul(&q, &q, &r);
        big_mul(&t, &a, &a);
        big_mul(&r, &b, &b);
        big_sub(&t, &t, &r);
        bad += big_cmp(&t, &q) != 0;

        if (i % 8 == 0) {
            char *text = big_format(&t);
            bad += !big_parse(&q, text) || big_cmp(&q, &t) != 0;
            free(text);
            q.neg = false;
            big_isqrt(&r, &q);
            *h = hash_big(&r, *h);
        }
    }
    big_free(&a);
    big_free(&b);
    big_free(&q);
    big_free(&r);
    big_free(&t);
    return bad;
}

static void factorial(bigint *x, limb n) {
    big_set(x, 1);
    for (limb i = 2; i <= n; i++)
        mul_small(x, i);
}

// Fast doubling: F(2k) = F(k)(2F(k+1) - F(k)), F(2k+1) = F(k)^2 + F(k+1)^2.
static void fibonacci(bigint *a, bigint *b, unsigned n) {
    if (n == 0) {
        big_set(a, 0);
        big_set(b, 1);
        return;
    }
    bigint t = BIGINT_INIT;
    fibonacci(a, b, n / 2);
    big_shl(&t, b, 1);
    big_sub(&t, &t, a);
    big_mul(&t, &t, a);
    big_mul(a, a, a);
    big_mul(b, b, b);
    big_add(b, b, a);
    big_swap(a, &t);
    if (n & 1) {
        big_add(a, a, b);
        big_swap(a, b);
    }
    big_free(&t);
}

int main(void) {
    bigint a = BIGINT_INIT, b = BIGINT_INIT, c = BIGINT_INIT;
    uint32_t h = 0x811c9dc5u;
    int failures = check_identities(&h);

    factorial(&a, 30);
    char *text = big_format(&a);
    failures += strcmp(text, "265252859812191058636308480000000") != 0;
    printf("30! = %s\n", text);
    free(text);

    fibonacci(&a, &b, 300);
    text = big_format(&a);
    printf("fib(300) = %s\n", text);
    free(text);
    big_gcd(&c, &a, &b);
    failures += c.len != 1 || c.d[0] != 1;

    // RSA-like round trip with the Mersenne primes 2^89 - 1 and 2^107 - 1.
    bigint n = BIGINT_INIT, e = BIGINT_INIT, msg = BIGINT_INIT;
    big_parse(&a, "0x1_ffffff_ffffffff_ffffffff");
    big_parse(&b, "162259276829213363391578010288127");
    int primes = big_probably_prime(&a) + big_probably_prime(&b);
    big_mul(&n, &a, &b);
    primes += big_probably_prime(&n);
    printf("primes found %d of 2\n", primes);
    big_parse(&msg, "123456789012345678901234567890");
    big_set(&e, 65537);
    big_modpow(&c, &msg, &e, &n);
    h = hash_big(&c, h);
    // d with 65537 d == 1 modulo (p - 1)(q - 1): find k so that k phi + 1 divides by e.
    bigint phi = BIGINT_INIT, one = BIGINT_INIT, d = BIGINT_INIT, rem = BIGINT_INIT;
    big_set(&one, 1);
    big_sub(&a, &a, &one);
    big_sub(&b, &b, &one);
    big_mul(&phi, &a, &b);
    big_copy(&d, &phi);
    uint64_t residue = divmod_small(&d, 65537), k = 1;
    while ((k * residue + 1) % 65537 != 0)
        k++;
    big_copy(&d, &phi);
    mul_small(&d, (limb)k);
    add_small(&d, 1);
    big_divmod(&d, &rem, &d, &e);
    big_modpow(&c, &c, &d, &n);
    failures += !big_is_zero(&rem) || big_cmp(&c, &msg) != 0 || primes != 2;
    text = big_format(&c);
    printf("decrypted %s\n", text);
    free(text);

    bigint *all[] = {&a, &b, &c, &n, &e, &msg, &phi, &one, &d, &rem};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        big_free(all[i]);
    printf("failures %d\nchecksum %08x\n", failures, h);
    return failures != 0;
}
