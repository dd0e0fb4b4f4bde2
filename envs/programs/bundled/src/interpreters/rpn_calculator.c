/* Reverse Polish calculator on 64-bit integers: operators are table entries with an arity and a
   function that may refuse its operands. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STACK_SIZE 16

typedef enum {
    RPN_OK,
    RPN_UNDERFLOW,
    RPN_OVERFLOW,
    RPN_DOMAIN,
    RPN_UNKNOWN,
    RPN_UNBALANCED
} rpn_status;

typedef bool (*operation)(int64_t a, int64_t b, int64_t *result);

/* Sums and products wrap around. */
static bool op_add(int64_t a, int64_t b, int64_t *result) {
    *result = (int64_t)((uint64_t)a + (uint64_t)b);
    return true;
}

static bool op_subtract(int64_t a, int64_t b, int64_t *result) {
    *result = (int64_t)((uint64_t)a - (uint64_t)b);
    return true;
}

static bool op_multiply(int64_t a, int64_t b, int64_t *result) {
    *result = (int64_t)((uint64_t)a * (uint64_t)b);
    return true;
}

static bool op_divide(int64_t a, int64_t b, int64_t *result) {
    if (b == 0 || (a == INT64_MIN && b == -1))
        return false;
    *result = a / b;
    return true;
}

static bool op_power(int64_t a, int64_t b, int64_t *result) {
    uint64_t power = 1, square = (uint64_t)a;
    if (b < 0)
        return false;
    for (; b > 0; b >>= 1, square *= square)
        if (b & 1)
            power *= square;
    *result = (int64_t)power;
    return true;
}

static bool op_factorial(int64_t a, int64_t unused, int64_t *result) {
    (void)unused;
    if (a < 0 || a > 20)
        return false;
    for (*result = 1; a > 1; a--)
        *result *= a;
    return true;
}

static const struct {
    char symbol;
    int arity;
    operation apply;
} operations[] = {
    {'+', 2, op_add},    {'-', 2, op_subtract}, {'*', 2, op_multiply},
    {'/', 2, op_divide}, {'^', 2, op_power},    {'!', 1, op_factorial},
};

static rpn_status apply(char symbol, int64_t *stack, int *depth) {
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (operations[i].symbol != symbol)
            continue;
        int bottom = *depth - operations[i].arity;
        if (bottom < 0)
            return RPN_UNDERFLOW;
        if (!operations[i].apply(stack[bottom], stack[*depth - 1], &stack[bottom]))
            return RPN_DOMAIN;
        *depth = bottom + 1;
        return RPN_OK;
    }
    return RPN_UNKNOWN;
}

/* Words are separated by single spaces. */
rpn_status rpn_evaluate(const char *text, int64_t *result) {
    int64_t stack[STACK_SIZE];
    int depth = 0;
    for (; *text; text += *text == ' ') {
        char *end;
        long long number = strtoll(text, &end, 10);
        if (end != text) {
            if (depth == STACK_SIZE)
                return RPN_OVERFLOW;
            stack[depth++] = number;
            text = end;
        } else {
            rpn_status status = apply(*text++, stack, &depth);
            if (status != RPN_OK)
                return status;
        }
    }
    *result = stack[0];
    return depth == 1 ? RPN_OK : RPN_UNBALANCED;
}

static const struct {
    const char *text;
    rpn_status status;
    int64_t value;
} examples[] = {
    {"3 4 + 2 *", RPN_OK, 14},
    {"15 7 1 1 + - / 3 * 2 1 1 + + -", RPN_OK, 5},
    {"2 62 ^ 20 ! -", RPN_OK, 2178784010250747904},
    {"-7 2 / 100 +", RPN_OK, 97},
    {"1 0 /", RPN_DOMAIN, 0},
    {"1 +", RPN_UNDERFLOW, 0},
    {"1 2", RPN_UNBALANCED, 0},
    {"6 7 ?", RPN_UNKNOWN, 0},
    {"1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", RPN_OVERFLOW, 0},
};

int main(void) {
    uint64_t checksum = 0;
    int failures = 0;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        int64_t value = 0;
        rpn_status status = rpn_evaluate(examples[i].text, &value);
        if (status != examples[i].status || (status == RPN_OK && value != examples[i].value))
            failures++;
        checksum = checksum * 1000003 + (uint64_t)value + status;
    }
    printf("%d failures\n", failures);
    printf("checksum %08x\n", (uint32_t)(checksum ^ checksum >> 32));
    return failures != 0;
}
