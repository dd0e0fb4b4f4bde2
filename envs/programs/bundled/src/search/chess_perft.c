// Chess move generation on a 0x88 board: FEN input, make and unmake with incremental Zobrist
// keys, attack detection, perft counts against known values and a capture search.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef enum { EMPTY, PAWN, KNIGHT, BISHOP, ROOK, QUEEN, KING } kind;
enum { WHITE = 0, BLACK = 8 };
enum { CASTLE_WK = 1, CASTLE_WQ = 2, CASTLE_BK = 4, CASTLE_BQ = 8 };
enum { NO_SQUARE = 0x7f, MAX_MOVES = 256, MAX_PLY = 32 };

#define SQ(file, rank) ((rank) * 16 + (file))
#define FILE_OF(sq) ((sq) & 7)
#define RANK_OF(sq) ((sq) >> 4)
#define OFF_BOARD(sq) ((sq) & 0x88)
#define KIND_OF(piece) ((piece) & 7)
#define COLOUR_OF(piece) ((piece) & 8)

typedef enum { QUIET, DOUBLE_PUSH, EN_PASSANT, CASTLE, PROMOTION } move_type;

typedef struct {
    uint8_t from, to;
    uint8_t type;
    uint8_t promote;
} move;

typedef struct {
    uint8_t captured, castling, ep;
    uint64_t key;
} undo;

typedef struct {
    uint8_t squares[128];
    uint8_t king[2];
    uint8_t side; // WHITE or BLACK
    uint8_t castling;
    uint8_t ep;
    int ply;
    uint64_t key;
    undo history[MAX_PLY];
} position;

typedef struct {
    move items[MAX_MOVES];
    int count;
} move_list;

static const int8_t knight_steps[] = {-33, -31, -18, -14, 14, 18, 31, 33, 0};
static const int8_t king_steps[] = {-17, -16, -15, -1, 1, 15, 16, 17, 0};
static const int8_t bishop_steps[] = {-17, -15, 15, 17, 0};
static const int8_t rook_steps[] = {-16, -1, 1, 16, 0};

static const struct {
    const int8_t *steps;
    bool slides;
} movement[] = {
    {NULL, false},      {NULL, false},      {knight_steps, false}, {bishop_steps, true},
    {rook_steps, true}, {king_steps, true}, {king_steps, false},
};

static const char piece_letters[] = ".PNBRQK  pnbrqk";

// ---- Zobrist keys -----------------------------------------------------------------------

static uint64_t piece_keys[16][128], castle_keys[16], ep_keys[128], side_key;

static uint64_t next_random(uint64_t *s) {
    uint64_t z = (*s += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void init_keys(void) {
    uint64_t seed = 2024;
    for (int p = 0; p < 16; p++)
        for (int sq = 0; sq < 128; sq++)
            piece_keys[p][sq] = next_random(&seed);
    for (int i = 0; i < 16; i++)
        castle_keys[i] = next_random(&seed);
    for (int i = 0; i < 128; i++)
        ep_keys[i] = i == NO_SQUARE ? 0 : next_random(&seed);
    side_key = next_random(&seed);
}

uint64_t full_key(const position *pos) {
    uint64_t key = castle_keys[pos->castling] ^ ep_keys[pos->ep];
    for (int sq = 0; sq < 128; sq++)
        if (!OFF_BOARD(sq) && pos->squares[sq] != EMPTY)
            key ^= piece_keys[pos->squares[sq]][sq];
    return pos->side == BLACK ? key ^ side_key : key;
}

static void put_piece(position *pos, int sq, uint8_t piece) {
    pos->squares[sq] = piece;
    pos->key ^= piece_keys[piece][sq];
    if (KIND_OF(piece) == KING)
        pos->king[COLOUR_OF(piece) >> 3] = (uint8_t)sq;
}

static void lift_piece(position *pos, int sq) {
    pos->key ^= piece_keys[pos->squares[sq]][sq];
    pos->squares[sq] = EMPTY;
}

// ---- FEN --------------------------------------------------------------------------------

bool parse_fen(position *pos, const char *fen) {
    int file = 0, rank = 7;
    memset(pos, 0, sizeof *pos);
    for (; *fen && *fen != ' '; fen++) {
        if (*fen == '/') {
            file = 0;
            rank--;
        } else if (*fen >= '1' && *fen <= '8') {
            file += *fen - '0';
        } else {
            const char *hit = strchr(piece_letters + 1, *fen);
            if (!hit || file > 7 || rank < 0)
                return false;
            put_piece(pos, SQ(file++, rank), (uint8_t)(hit - piece_letters));
        }
    }
    if (*fen++ != ' ' || (*fen != 'w' && *fen != 'b'))
        return false;
    pos->side = *fen++ == 'w' ? WHITE : BLACK;
    for (fen++; *fen && *fen != ' '; fen++) {
        switch (*fen) {
        case 'K':
            pos->castling |= CASTLE_WK;
            break;
        case 'Q':
            pos->castling |= CASTLE_WQ;
            break;
        case 'k':
            pos->castling |= CASTLE_BK;
            break;
        case 'q':
            pos->castling |= CASTLE_BQ;
            break;
        case '-':
            break;
        default:
            return false;
        }
    }
    pos->ep = NO_SQUARE;
    if (fen[0] == ' ' && fen[1] >= 'a' && fen[1] <= 'h')
        pos->ep = (uint8_t)SQ(fen[1] - 'a', fen[2] - '1');
    pos->key = full_key(pos);
    return true;
}

// ---- attacks ----------------------------------------------------------------------------

static bool leaper_hits(const position *pos, int sq, const int8_t *steps, uint8_t piece) {
    for (; *steps; steps++) {
        int from = sq + *steps;
        if (!OFF_BOARD(from) && pos->squares[from] == piece)
            return true;
    }
    return false;
}

static bool slider_hits(const position *pos, int sq, const int8_t *steps, uint8_t a, uint8_t b) {
    for (; *steps; steps++) {
        int from = sq + *steps;
        while (!OFF_BOARD(from) && pos->squares[from] == EMPTY)
            from += *steps;
        if (!OFF_BOARD(from) && (pos->squares[from] == a || pos->squares[from] == b))
            return true;
    }
    return false;
}

bool is_attacked(const position *pos, int sq, int by) {
    int pawn_from = by == WHITE ? -16 : 16;
    for (int side = -1; side <= 1; side += 2) {
        int from = sq + pawn_from + side;
        if (!OFF_BOARD(from) && pos->squares[from] == (PAWN | by))
            return true;
    }
    return leaper_hits(pos, sq, knight_steps, (uint8_t)(KNIGHT | by)) ||
           leaper_hits(pos, sq, king_steps, (uint8_t)(KING | by)) ||
           slider_hits(pos, sq, bishop_steps, (uint8_t)(BISHOP | by), (uint8_t)(QUEEN | by)) ||
           slider_hits(pos, sq, rook_steps, (uint8_t)(ROOK | by), (uint8_t)(QUEEN | by));
}

bool in_check(const position *pos, int colour) {
    return is_attacked(pos, pos->king[colour >> 3], colour ^ BLACK);
}

// ---- generation -------------------------------------------------------------------------

static void add_move(move_list *list, int from, int to, move_type type, kind promote) {
    list->items[list->count++] =
        (move){(uint8_t)from, (uint8_t)to, (uint8_t)type, (uint8_t)promote};
}

static void add_pawn_move(move_list *list, int from, int to, move_type type) {
    if (RANK_OF(to) != 0 && RANK_OF(to) != 7) {
        add_move(list, from, to, type, EMPTY);
        return;
    }
    for (kind k = QUEEN; k >= KNIGHT; k--)
        add_move(list, from, to, PROMOTION, k);
}

static void gen_pawn(const position *pos, int from, bool captures_only, move_list *list) {
    int forward = pos->side == WHITE ? 16 : -16;
    int to = from + forward;
    if (!captures_only && pos->squares[to] == EMPTY) {
        add_pawn_move(list, from, to, QUIET);
        bool home = RANK_OF(from) == (pos->side == WHITE ? 1 : 6);
        if (home && pos->squares[to + forward] == EMPTY)
            add_move(list, from, to + forward, DOUBLE_PUSH, EMPTY);
    }
    for (int side = -1; side <= 1; side += 2) {
        to = from + forward + side;
        if (OFF_BOARD(to))
            continue;
        if (to == pos->ep)
            add_move(list, from, to, EN_PASSANT, EMPTY);
        else if (pos->squares[to] != EMPTY && COLOUR_OF(pos->squares[to]) != pos->side)
            add_pawn_move(list, from, to, QUIET);
    }
}

static void gen_piece(const position *pos, int from, bool captures_only, move_list *list) {
    kind k = (kind)KIND_OF(pos->squares[from]);
    for (const int8_t *step = movement[k].steps; *step; step++) {
        int to = from;
        do {
            to += *step;
            if (OFF_BOARD(to))
                break;
            uint8_t target = pos->squares[to];
            if (target != EMPTY && COLOUR_OF(target) == pos->side)
                break;
            if (target != EMPTY || !captures_only)
                add_move(list, from, to, QUIET, EMPTY);
            if (target != EMPTY)
                break;
        } while (movement[k].slides);
    }
}

static void gen_castling(const position *pos, move_list *list) {
    int king = pos->king[pos->side >> 3], enemy = pos->side ^ BLACK;
    unsigned rights = pos->side == WHITE ? pos->castling : pos->castling >> 2u;
    if ((rights & (CASTLE_WK | CASTLE_WQ)) == 0 || is_attacked(pos, king, enemy))
        return;
    const uint8_t *k = &pos->squares[king];
    if ((rights & CASTLE_WK) && !k[1] && !k[2] && !is_attacked(pos, king + 1, enemy))
        add_move(list, king, king + 2, CASTLE, EMPTY);
    if ((rights & CASTLE_WQ) && !k[-1] && !k[-2] && !k[-3] && !is_attacked(pos, king - 1, enemy))
        add_move(list, king, king - 2, CASTLE, EMPTY);
}

// Pseudo-legal: the mover's king may be left in check.
void generate(const position *pos, bool captures_only, move_list *list) {
    list->count = 0;
    for (int sq = 0; sq < 128; sq++) {
        uint8_t piece = pos->squares[sq];
        if (OFF_BOARD(sq) || piece == EMPTY || COLOUR_OF(piece) != pos->side)
            continue;
        if (KIND_OF(piece) == PAWN)
            gen_pawn(pos, sq, captures_only, list);
        else
            gen_piece(pos, sq, captures_only, list);
    }
    if (!captures_only)
        gen_castling(pos, list);
}

// ---- make and unmake --------------------------------------------------------------------

// Rights lost when a piece leaves or lands on the square.
static uint8_t rights_touched(int sq) {
    switch (sq) {
    case SQ(0, 0):
        return CASTLE_WQ;
    case SQ(4, 0):
        return CASTLE_WK | CASTLE_WQ;
    case SQ(7, 0):
        return CASTLE_WK;
    case SQ(0, 7):
        return CASTLE_BQ;
    case SQ(4, 7):
        return CASTLE_BK | CASTLE_BQ;
    case SQ(7, 7):
        return CASTLE_BK;
    default:
        return 0;
    }
}

static int captured_square(const position *pos, const move *m) {
    if (m->type != EN_PASSANT)
        return m->to;
    return m->to + (pos->side == WHITE ? -16 : 16);
}

static void castling_rook(const move *m, int *from, int *to) {
    bool king_side = m->to > m->from;
    *from = king_side ? m->from + 3 : m->from - 4;
    *to = king_side ? m->from + 1 : m->from - 1;
}

static void shift_piece(position *pos, int from, int to) {
    uint8_t piece = pos->squares[from];
    lift_piece(pos, from);
    put_piece(pos, to, piece);
}

void unmake_move(position *pos, const move *m) {
    const undo *u = &pos->history[--pos->ply];
    pos->side ^= BLACK;
    shift_piece(pos, m->to, m->from);
    if (m->type == PROMOTION)
        pos->squares[m->from] = (uint8_t)(PAWN | pos->side);
    if (u->captured != EMPTY)
        put_piece(pos, captured_square(pos, m), u->captured);
    if (m->type == CASTLE) {
        int from, to;
        castling_rook(m, &from, &to);
        shift_piece(pos, to, from);
    }
    pos->castling = u->castling;
    pos->ep = u->ep;
    pos->key = u->key;
}

// Returns false, with the position unchanged, when the move leaves the own king in check.
bool make_move(position *pos, const move *m) {
    undo *u = &pos->history[pos->ply++];
    int victim = captured_square(pos, m), mover = pos->side;
    *u = (undo){pos->squares[victim], pos->castling, pos->ep, pos->key};
    pos->key ^= castle_keys[pos->castling] ^ ep_keys[pos->ep] ^ side_key;
    if (u->captured != EMPTY)
        lift_piece(pos, victim);
    shift_piece(pos, m->from, m->to);
    if (m->type == PROMOTION) {
        lift_piece(pos, m->to);
        put_piece(pos, m->to, (uint8_t)(m->promote | mover));
    } else if (m->type == CASTLE) {
        int from, to;
        castling_rook(m, &from, &to);
        shift_piece(pos, from, to);
    }
    pos->castling &= (uint8_t)~(rights_touched(m->from) | rights_touched(m->to));
    pos->ep = m->type == DOUBLE_PUSH ? (uint8_t)((m->from + m->to) / 2) : NO_SQUARE;
    pos->key ^= castle_keys[pos->castling] ^ ep_keys[pos->ep];
    pos->side ^= BLACK;
    if (!in_check(pos, mover))
        return true;
    unmake_move(pos, m);
    return false;
}

// ---- perft and search -------------------------------------------------------------------

typedef struct {
    uint64_t nodes, captures, checks, key_errors;
} perft_stats;

void perft(position *pos, int depth, perft_stats *st) {
    move_list list;
    generate(pos, false, &list);
    for (int i = 0; i < list.count; i++) {
        const move *m = &list.items[i];
        if (!make_move(pos, m))
            continue;
        if (depth > 1) {
            perft(pos, depth - 1, st);
        } else {
            st->nodes++;
            st->captures += pos->history[pos->ply - 1].captured != EMPTY;
            st->checks += in_check(pos, pos->side);
            if (st->nodes % 64 == 0)
                st->key_errors += pos->key != full_key(pos);
        }
        unmake_move(pos, m);
    }
}

static const int16_t piece_value[] = {0, 100, 320, 330, 500, 900, 0};

static int material(const position *pos) {
    int sum = 0;
    for (int sq = 0; sq < 128; sq++) {
        uint8_t p = pos->squares[sq];
        if (!OFF_BOARD(sq) && p != EMPTY)
            sum += COLOUR_OF(p) == pos->side ? piece_value[KIND_OF(p)] : -piece_value[KIND_OF(p)];
    }
    return sum;
}

// Most valuable victim first, least valuable attacker among equals.
static int capture_rank(const position *pos, const move *m) {
    int victim = piece_value[KIND_OF(pos->squares[m->to])];
    return 8 * victim - KIND_OF(pos->squares[m->from]) + piece_value[m->promote];
}

static const move *pick_next(const position *pos, move_list *list, int from) {
    int best = from;
    for (int i = from + 1; i < list->count; i++)
        if (capture_rank(pos, &list->items[i]) > capture_rank(pos, &list->items[best]))
            best = i;
    move t = list->items[from];
    list->items[from] = list->items[best];
    list->items[best] = t;
    return &list->items[from];
}

// Negamax over captures only, standing pat when nothing gains.
int quiesce(position *pos, int alpha, int beta, int depth) {
    int best = material(pos);
    move_list list;
    if (best >= beta || depth == 0)
        return best;
    if (best > alpha)
        alpha = best;
    generate(pos, true, &list);
    for (int i = 0; i < list.count && alpha < beta; i++) {
        const move *m = pick_next(pos, &list, i);
        if (!make_move(pos, m))
            continue;
        int score = -quiesce(pos, -beta, -alpha, depth - 1);
        unmake_move(pos, m);
        if (score > best)
            best = score;
        if (score > alpha)
            alpha = score;
    }
    return best;
}

static void move_text(const move *m, char *out) {
    out[0] = (char)('a' + FILE_OF(m->from));
    out[1] = (char)('1' + RANK_OF(m->from));
    out[2] = (char)('a' + FILE_OF(m->to));
    out[3] = (char)('1' + RANK_OF(m->to));
    out[4] = m->type == PROMOTION ? piece_letters[m->promote | BLACK] : '\0';
    out[5] = '\0';
}

static const struct {
    const char *name, *fen;
    int depth;
    uint64_t nodes, captures, checks;
} suite[] = {
    {"start", "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1", 3, 8902, 34, 12},
    {"kiwipete", "r3k2r/p1ppqpb1/bn2pnp1/3PN3/1p2P3/2N2Q1p/PPPBBPPP/R3K2R w KQkq - 0 1", 2, 2039,
     351, 3},
    {"endgame", "8/2p5/3p4/KP5r/1R3p1k/8/4P1P1/8 w - - 0 1", 3, 2812, 209, 267},
    {"promote", "r3k2r/Pppp1ppp/1b3nbN/nP6/BBP1P3/q4N2/Pp1P2PP/R2Q1RK1 w kq - 0 1", 3, 9467, 1021,
     38},
};

int main(void) {
    position pos, broken;
    uint64_t digest = 0;
    int bad = 0, swings = 0;
    char best[6] = "";
    init_keys();
    for (size_t i = 0; i < sizeof suite / sizeof *suite; i++) {
        perft_stats st = {0, 0, 0, 0};
        if (!parse_fen(&pos, suite[i].fen))
            return 2;
        perft(&pos, suite[i].depth, &st);
        bad += st.nodes != suite[i].nodes || st.captures != suite[i].captures ||
               st.checks != suite[i].checks || st.key_errors != 0 || pos.key != full_key(&pos);
        digest = digest * 31 + st.nodes * 7 + st.captures * 3 + st.checks;
        printf("%s: %llu nodes, %llu captures, %llu checks\n", suite[i].name,
               (unsigned long long)st.nodes, (unsigned long long)st.captures,
               (unsigned long long)st.checks);
    }

    // One ply plus captures on the tactical position.
    int top = -100000;
    move_list list;
    parse_fen(&pos, suite[1].fen);
    generate(&pos, false, &list);
    for (int i = 0; i < list.count; i++) {
        if (!make_move(&pos, &list.items[i]))
            continue;
        int score = -quiesce(&pos, -100000, -top, 4);
        unmake_move(&pos, &list.items[i]);
        swings += score > 0;
        if (score > top) {
            top = score;
            move_text(&list.items[i], best);
        }
    }
    bad += parse_fen(&broken, "8/8/8/8/8/8/8/4x3 w - - 0 1");
    printf("best capture line %s %+d, %d good moves, bad %d\n", best, top, swings, bad);
    printf("checksum %016llx\n", (unsigned long long)(digest ^ pos.key ^ (uint64_t)(top + 1000)));
    return bad != 0;
}
