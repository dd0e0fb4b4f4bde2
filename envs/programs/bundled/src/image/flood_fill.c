/* Recursive flood fill that paints and measures the rooms of a character-cell map. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 16, HEIGHT = 8 };

/* Repaints the 4-connected area around (x, y) and returns how many cells it has. */
int flood_fill(char *map, int x, int y, char from, char to) {
    if (x < 0 || x >= WIDTH || y < 0 || y >= HEIGHT || map[y * WIDTH + x] != from)
        return 0;
    map[y * WIDTH + x] = to;
    return 1 + flood_fill(map, x - 1, y, from, to) + flood_fill(map, x + 1, y, from, to) +
           flood_fill(map, x, y - 1, from, to) + flood_fill(map, x, y + 1, from, to);
}

static char plan[] = "....#......#...."
                     ".##.#.####.#.##."
                     ".####.#..#.#..#."
                     ".####.#..#.####."
                     "......####......"
                     "#######..#######"
                     "...#..#..#......"
                     ".#...##..#.#.##.";

int main(void) {
    uint32_t checksum = 0;
    char paint = 'a';
    for (char *cell; (cell = strchr(plan, '.')) != NULL; paint++) {
        int at = (int)(cell - plan);
        int area = flood_fill(plan, at % WIDTH, at / WIDTH, '.', paint);
        printf("room %c: %d cells\n", paint, area);
        checksum = checksum * 1000003 + (uint32_t)(area << 8 | at);
    }
    printf("checksum %08x\n", checksum);
    return paint - 'a' != 5;
}
