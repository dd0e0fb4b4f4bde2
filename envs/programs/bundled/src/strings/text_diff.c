// Line diff by Myers' greedy algorithm, printed as an edit script and checked by replaying it,
// plus a banded-memory Levenshtein distance between words.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *line[64];
    int count;
} document;

enum edit_kind { KEEP, INSERT, DELETE };

typedef struct {
    enum edit_kind kind;
    int a, b; // line numbers in either document
} edit;

// Splits text at newlines in place.
void split_lines(char *text, document *doc) {
    doc->count = 0;
    for (char *nl; (nl = strchr(text, '\n')) != NULL && doc->count < 64; text = nl + 1) {
        *nl = '\0';
        doc->line[doc->count++] = text;
    }
}

// Fills script front to back and returns its length, or -1 without memory.
int diff_lines(const document *a, const document *b, edit *script) {
    int n = a->count, m = b->count, max = n + m, width = 2 * max + 2, d, len = 0;
    int *trace = calloc((size_t)(max + 1) * (size_t)width, sizeof *trace);
    if (!trace)
        return -1;
    for (d = 0; d <= max; d++) {
        int *v = trace + d * width + max, *prev = d ? v - width : v, reached = 0;
        for (int k = -d; k <= d; k += 2) {
            int x =
                k == -d || (k != d && prev[k - 1] < prev[k + 1]) ? prev[k + 1] : prev[k - 1] + 1;
            while (x < n && x - k < m && strcmp(a->line[x], b->line[x - k]) == 0)
                x++;
            v[k] = x;
            reached |= x >= n && x - k >= m;
        }
        if (reached)
            break;
    }
    // Walk back through the saved frontiers, writing the script in reverse.
    for (int x = n, y = m; x > 0 || y > 0; d--) {
        int *prev = trace + (d ? d - 1 : 0) * width + max, k = x - y;
        int down = d > 0 && (k == -d || (k != d && prev[k - 1] < prev[k + 1]));
        int px = d == 0 ? 0 : down ? prev[k + 1] : prev[k - 1];
        int py = d == 0 ? 0 : px - (down ? k + 1 : k - 1);
        while (x > px && y > py)
            script[len++] = (edit){KEEP, --x, --y};
        if (d > 0)
            script[len++] = down ? (edit){INSERT, x, --y} : (edit){DELETE, --x, y};
    }
    free(trace);
    for (int i = 0; i < len / 2; i++) {
        edit t = script[i];
        script[i] = script[len - 1 - i];
        script[len - 1 - i] = t;
    }
    return len;
}

int edit_distance(const char *s, const char *t) {
    int row[65], n = (int)strlen(t);
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (; *s; s++) {
        int diagonal = row[0]++;
        for (int j = 1; j <= n; j++) {
            int best = diagonal + (*s != t[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

static char old_text[] = "int total;\nvoid reset(void) {\n    total = 0;\n}\n\nint add(int x) {\n"
                         "    total += x;\n    return total;\n}\n";
static char new_text[] = "static int total;\n\nint add(int x) {\n    if (x < 0)\n        x = 0;\n"
                         "    total += x;\n    return total;\n}\nvoid reset(void) {\n}\n";

int main(void) {
    document a, b;
    edit script[128];
    uint32_t hash = 5381;
    int counts[3] = {0}, at_a = 0, at_b = 0, faults = 0;
    split_lines(old_text, &a);
    split_lines(new_text, &b);
    int len = diff_lines(&a, &b, script);
    for (int i = 0; i < len; i++) {
        const edit *e = &script[i];
        const char *text = e->kind == INSERT ? b.line[e->b] : a.line[e->a];
        faults += e->kind != INSERT && e->a != at_a++;
        faults += e->kind != DELETE && e->b != at_b++;
        faults += e->kind == KEEP && strcmp(text, b.line[e->b]) != 0;
        counts[e->kind]++;
        for (hash = hash * 33 + e->kind; *text; text++)
            hash = hash * 33 ^ (uint8_t)*text;
    }
    faults += at_a != a.count || at_b != b.count;
    printf("kept %d inserted %d deleted %d\n", counts[KEEP], counts[INSERT], counts[DELETE]);
    int near = edit_distance("kitten", "sitting"), far = edit_distance("intention", "execution");
    printf("distances %d %d\n", near, far);
    printf("checksum %08x\n", hash + (uint32_t)(near * 100 + far));
    return faults || near != 3 || far != 5;
}
