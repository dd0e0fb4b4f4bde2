// Dates, times, durations and decimal numbers: calendar arithmetic, ISO 8601 and pattern based
// parsing and formatting, time zones with daylight saving rules, and locale-style number formats.
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

// ---- output buffer ----------------------------------------------------------------------------

typedef struct {
    char *data;
    size_t size, length;
    bool overflow;
} Text;

#define TEXT_ON(array) {(array), sizeof(array), 0, false}

static void put_char(Text *t, char c) {
    if (t->length + 1 >= t->size) {
        t->overflow = true;
        return;
    }
    t->data[t->length++] = c;
    t->data[t->length] = '\0';
}

static void put_text(Text *t, const char *s) {
    while (*s)
        put_char(t, *s++);
}

// Decimal digits of value, padded on the left to width unless pad is 0.
static void put_number(Text *t, int64_t value, int width, char pad) {
    char digits[24];
    int n = 0;
    uint64_t rest = value < 0 ? 0u - (uint64_t)value : (uint64_t)value;
    do
        digits[n++] = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (value < 0 && pad != ' ')
        put_char(t, '-');
    for (int i = n + (value < 0); pad && i < width; i++)
        put_char(t, pad);
    if (value < 0 && pad == ' ')
        put_char(t, '-');
    while (n > 0)
        put_char(t, digits[--n]);
}

// ---- calendar ---------------------------------------------------------------------------------

typedef struct {
    int year, month, day;
    int hour, minute, second;
    int32_t nanos;
    int offset; // minutes east of UTC
} DateTime;

static const char *const month_names[12] = {"January",   "February", "March",    "April",
                                            "May",       "June",     "July",     "August",
                                            "September", "October",  "November", "December"};
static const char *const day_names[7] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                         "Friday", "Saturday", "Sunday"};

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

static int64_t floor_mod(int64_t a, int64_t b) {
    return a - floor_div(a, b) * b;
}

static bool is_leap(int year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_month(int year, int month) {
    switch (month) {
    case 2:
        return is_leap(year) ? 29 : 28;
    case 4:
    case 6:
    case 9:
    case 11:
        return 30;
    default:
        return 31;
    }
}

// Days since 1970-01-01 in the proleptic Gregorian calendar, with years that start in March.
int64_t days_from_date(int year, int month, int day) {
    int64_t y = month <= 2 ? (int64_t)year - 1 : year;
    int64_t era = floor_div(y, 400), year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

void date_from_days(int64_t days, DateTime *out) {
    days += 719468;
    int64_t era = floor_div(days, 146097), doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t shifted = (5 * doy + 2) / 153;
    out->day = (int)(doy - (153 * shifted + 2) / 5 + 1);
    out->month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
    out->year = (int)(yoe + era * 400 + (out->month <= 2));
}

static int weekday_of(int64_t days) {
    return (int)floor_mod(days + 3, 7);
} // 0 is Monday

static int day_of_year(const DateTime *d) {
    return (int)(days_from_date(d->year, d->month, d->day) - days_from_date(d->year, 1, 1)) + 1;
}

// The Monday of ISO week 1.
static int64_t iso_year_start(int year) {
    int64_t fourth = days_from_date(year, 1, 4);
    return fourth - weekday_of(fourth);
}

static int iso_week(const DateTime *d, int *iso_year) {
    int64_t days = days_from_date(d->year, d->month, d->day);
    *iso_year = d->year;
    if (days >= iso_year_start(d->year + 1))
        ++*iso_year;
    else if (days < iso_year_start(d->year))
        --*iso_year;
    return (int)((days - iso_year_start(*iso_year)) / 7) + 1;
}

int64_t datetime_to_unix(const DateTime *d) {
    return days_from_date(d->year, d->month, d->day) * 86400 + d->hour * 3600 + d->minute * 60 +
           d->second - (int64_t)d->offset * 60;
}

DateTime datetime_from_unix(int64_t seconds, int32_t nanos, int offset) {
    DateTime d;
    seconds += (int64_t)offset * 60;
    int64_t days = floor_div(seconds, 86400);
    int rest = (int)(seconds - days * 86400);
    date_from_days(days, &d);
    d.hour = rest / 3600;
    d.minute = rest / 60 % 60;
    d.second = rest % 60;
    d.nanos = nanos;
    d.offset = offset;
    return d;
}

bool datetime_valid(const DateTime *d) {
    return d->year >= -9999 && d->year <= 9999 && d->month >= 1 && d->month <= 12 && d->day >= 1 &&
           d->day <= days_in_month(d->year, d->month) && d->hour >= 0 && d->hour < 24 &&
           d->minute >= 0 && d->minute < 60 && d->second >= 0 && d->second < 60 && d->nanos >= 0 &&
           d->nanos < 1000000000 && d->offset > -1440 && d->offset < 1440;
}

// Anonymous Gregorian computus.
static int64_t easter_sunday(int year) {
    int golden = year % 19, century = year / 100, rest = year % 100;
    int epact =
        (19 * golden + century - century / 4 - (century - (century + 8) / 25 + 1) / 3 + 15) % 30;
    int shift = (32 + 2 * (century % 4) + 2 * (rest / 4) - epact - rest % 4) % 7;
    int correction = (golden + 11 * epact + 22 * shift) / 451;
    int serial = epact + shift - 7 * correction + 114;
    return days_from_date(year, serial / 31, serial % 31 + 1);
}

// ---- time zones -------------------------------------------------------------------------------

typedef struct {
    int8_t month;
    int8_t week; // 1 to 4, or 5 for the last one of the month
    int16_t minute;
} Switchover; // always on a Sunday, in the local time before the change

typedef struct {
    const char *name;
    const char *short_names[2];
    int16_t offset[2]; // standard, daylight
    Switchover begin, end;
} Zone;

static const Zone zones[] = {
    {"Europe/Berlin", {"CET", "CEST"}, {60, 120}, {3, 5, 120}, {10, 5, 180}},
    {"America/New_York", {"EST", "EDT"}, {-300, -240}, {3, 2, 120}, {11, 1, 120}},
    {"Australia/Sydney", {"AEST", "AEDT"}, {600, 660}, {10, 1, 120}, {4, 1, 180}},
    {"Asia/Kolkata", {"IST", "IST"}, {330, 330}, {0, 0, 0}, {0, 0, 0}},
};
enum { ZONE_COUNT = sizeof zones / sizeof zones[0] };

static int64_t switchover_instant(const Switchover *s, int year, int offset) {
    int64_t first = days_from_date(year, s->month, 1);
    int64_t day = first + (6 - weekday_of(first)) + (s->week - 1) * 7;
    if (day >= first + days_in_month(year, s->month))
        day -= 7;
    return day * 86400 + (s->minute - offset) * 60;
}

static bool zone_is_daylight(const Zone *z, int64_t unix_seconds) {
    if (z->begin.month == 0)
        return false;
    int year = datetime_from_unix(unix_seconds, 0, z->offset[0]).year;
    int64_t begin = switchover_instant(&z->begin, year, z->offset[0]);
    int64_t end = switchover_instant(&z->end, year, z->offset[1]);
    bool inside = begin < end ? unix_seconds >= begin && unix_seconds < end
                              : unix_seconds >= begin || unix_seconds < end; // southern summer
    return inside;
}

DateTime datetime_in_zone(int64_t unix_seconds, const Zone *z) {
    return datetime_from_unix(unix_seconds, 0, z->offset[zone_is_daylight(z, unix_seconds)]);
}

// ---- scanning ---------------------------------------------------------------------------------

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static char to_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool scan_digits(const char **p, int min, int max, int *out) {
    int n = 0, value = 0;
    while (n < max && is_digit((*p)[n]))
        value = value * 10 + ((*p)[n++] - '0');
    if (n < min)
        return false;
    *p += n;
    *out = value;
    return true;
}

static bool scan_char(const char **p, char c) {
    if (**p != c)
        return false;
    ++*p;
    return true;
}

// Fractional digits as nanoseconds; digits beyond the ninth are dropped.
static bool scan_nanos(const char **p, int32_t *out) {
    int32_t unit = 100000000, value = 0;
    if (!is_digit(**p))
        return false;
    for (; is_digit(**p); ++*p, unit /= 10)
        value += unit * (**p - '0');
    *out = value;
    return true;
}

// Full names or their first three letters; returns the index or -1.
static int scan_name(const char **p, const char *const *names, int count) {
    for (int i = 0; i < count; i++) {
        size_t n = 0;
        while (names[i][n] && to_lower((*p)[n]) == to_lower(names[i][n]))
            n++;
        if (n >= 3) {
            *p += names[i][n] == '\0' ? n : 3;
            return i;
        }
    }
    return -1;
}

static bool scan_offset(const char **p, int *out) {
    int hours, minutes = 0;
    if (scan_char(p, 'Z')) {
        *out = 0;
        return true;
    }
    int sign = **p == '-' ? -1 : 1;
    if (!scan_char(p, '+') && !scan_char(p, '-'))
        return false;
    if (!scan_digits(p, 2, 2, &hours))
        return false;
    bool colon = scan_char(p, ':');
    if (!scan_digits(p, 2, 2, &minutes) && colon)
        return false;
    *out = sign * (hours * 60 + minutes);
    return hours < 24 && minutes < 60;
}

// Calendar dates, week dates and ordinal dates, basic or extended.
static bool scan_iso_date(const char **p, DateTime *d) {
    int value, weekday = 1;
    int sign = scan_char(p, '-') ? -1 : 1;
    if (!scan_digits(p, 4, 4, &d->year))
        return false;
    d->year *= sign;
    bool extended = scan_char(p, '-');
    if (scan_char(p, 'W')) {
        if (!scan_digits(p, 2, 2, &value) || value < 1 || value > 53)
            return false;
        if (extended ? scan_char(p, '-') : is_digit(**p))
            if (!scan_digits(p, 1, 1, &weekday) || weekday < 1 || weekday > 7)
                return false;
        int64_t days = iso_year_start(d->year) + (value - 1) * 7;
        if (days >= iso_year_start(d->year + 1))
            return false;
        date_from_days(days + weekday - 1, d);
        return true;
    }
    const char *digits = *p;
    while (is_digit(*digits))
        digits++;
    if (digits - *p == 3) {
        scan_digits(p, 3, 3, &value);
        if (value < 1 || value > 365 + is_leap(d->year))
            return false;
        date_from_days(days_from_date(d->year, 1, 1) + value - 1, d);
        return true;
    }
    if (!scan_digits(p, 2, 2, &d->month))
        return false;
    if (extended && !scan_char(p, '-'))
        return d->day == 1; // year and month only
    return scan_digits(p, 2, 2, &d->day);
}

bool datetime_parse_iso(const char *s, DateTime *out) {
    DateTime d = {1970, 1, 1, 0, 0, 0, 0, 0};
    if (!scan_iso_date(&s, &d))
        return false;
    if (*s == 'T' || *s == ' ') {
        s++;
        if (!scan_digits(&s, 2, 2, &d.hour))
            return false;
        bool colon = scan_char(&s, ':');
        if (!scan_digits(&s, 2, 2, &d.minute))
            return false;
        if ((colon ? scan_char(&s, ':') : is_digit(*s)) && !scan_digits(&s, 2, 2, &d.second))
            return false;
        if ((*s == '.' || *s == ',') && (s++, !scan_nanos(&s, &d.nanos)))
            return false;
        if (*s && !scan_offset(&s, &d.offset))
            return false;
    }
    if (*s || !datetime_valid(&d))
        return false;
    *out = d;
    return true;
}

// ---- patterns ---------------------------------------------------------------------------------

// Like strftime; "%-" drops the padding of a field and "%_" pads with blanks.
void datetime_format(Text *t, const char *pattern, const DateTime *d) {
    int64_t days = days_from_date(d->year, d->month, d->day);
    int iso_year, week = iso_week(d, &iso_year);
    for (; *pattern; pattern++) {
        if (*pattern != '%') {
            put_char(t, *pattern);
            continue;
        }
        char pad = '0';
        pattern++;
        if (*pattern == '-' || *pattern == '_')
            pad = *pattern++ == '-' ? 0 : ' ';
        switch (*pattern) {
        case 'Y':
            put_number(t, d->year, 4, pad);
            break;
        case 'y':
            put_number(t, floor_mod(d->year, 100), 2, pad);
            break;
        case 'm':
            put_number(t, d->month, 2, pad);
            break;
        case 'd':
            put_number(t, d->day, 2, pad);
            break;
        case 'H':
            put_number(t, d->hour, 2, pad);
            break;
        case 'I':
            put_number(t, (d->hour + 11) % 12 + 1, 2, pad);
            break;
        case 'M':
            put_number(t, d->minute, 2, pad);
            break;
        case 'S':
            put_number(t, d->second, 2, pad);
            break;
        case 'L':
            put_number(t, d->nanos / 1000000, 3, '0');
            break;
        case 'N':
            put_number(t, d->nanos, 9, '0');
            break;
        case 'p':
            put_text(t, d->hour < 12 ? "AM" : "PM");
            break;
        case 'j':
            put_number(t, day_of_year(d), 3, pad);
            break;
        case 'q':
            put_number(t, (d->month + 2) / 3, 1, 0);
            break;
        case 'u':
            put_number(t, weekday_of(days) + 1, 1, 0);
            break;
        case 'V':
            put_number(t, week, 2, pad);
            break;
        case 'G':
            put_number(t, iso_year, 4, pad);
            break;
        case 's':
            put_number(t, datetime_to_unix(d), 1, 0);
            break;
        case 'A':
            put_text(t, day_names[weekday_of(days)]);
            break;
        case 'B':
            put_text(t, month_names[d->month - 1]);
            break;
        case 'a':
        case 'b': {
            const char *name =
                *pattern == 'a' ? day_names[weekday_of(days)] : month_names[d->month - 1];
            for (int i = 0; i < 3; i++)
                put_char(t, name[i]);
            break;
        }
        case 'z': {
            int minutes = d->offset < 0 ? -d->offset : d->offset;
            put_char(t, d->offset < 0 ? '-' : '+');
            put_number(t, minutes / 60, 2, '0');
            put_char(t, ':');
            put_number(t, minutes % 60, 2, '0');
            break;
        }
        case 'F':
            datetime_format(t, "%Y-%m-%d", d);
            break;
        case 'T':
            datetime_format(t, "%H:%M:%S", d);
            break;
        case '\0':
            return;
        default:
            put_char(t, *pattern);
            break;
        }
    }
}

// The reverse for the fields that determine an instant. A blank matches any run of blanks.
bool datetime_parse(const char *s, const char *pattern, DateTime *out) {
    DateTime d = {1970, 1, 1, 0, 0, 0, 0, 0};
    int weekday = -1, half = -1, value;
    for (; *pattern; pattern++) {
        bool ok = true;
        if (*pattern == ' ') {
            while (*s == ' ')
                s++;
            continue;
        }
        if (*pattern != '%') {
            if (!scan_char(&s, *pattern))
                return false;
            continue;
        }
        switch (*++pattern) {
        case 'Y':
            ok = scan_digits(&s, 4, 4, &d.year);
            break;
        case 'y':
            ok = scan_digits(&s, 2, 2, &value);
            d.year = ok ? (value < 70 ? 2000 : 1900) + value : 0;
            break;
        case 'm':
            ok = scan_digits(&s, 1, 2, &d.month);
            break;
        case 'd':
            ok = scan_digits(&s, 1, 2, &d.day);
            break;
        case 'H':
        case 'I':
            ok = scan_digits(&s, 1, 2, &d.hour);
            break;
        case 'M':
            ok = scan_digits(&s, 2, 2, &d.minute);
            break;
        case 'S':
            ok = scan_digits(&s, 2, 2, &d.second);
            break;
        case 'N':
            ok = scan_nanos(&s, &d.nanos);
            break;
        case 'z':
            ok = scan_offset(&s, &d.offset);
            break;
        case 'a':
            ok = (weekday = scan_name(&s, day_names, 7)) >= 0;
            break;
        case 'b':
            ok = (d.month = scan_name(&s, month_names, 12) + 1) > 0;
            break;
        case 'p':
            half = to_lower(s[0]) == 'p' ? 12 : 0;
            ok = (half || to_lower(s[0]) == 'a') && to_lower(s[1]) == 'm';
            s += ok ? 2 : 0;
            break;
        default:
            ok = scan_char(&s, *pattern);
            break;
        }
        if (!ok)
            return false;
    }
    if (half >= 0) {
        if (d.hour < 1 || d.hour > 12)
            return false;
        d.hour = d.hour % 12 + half;
    }
    if (*s || !datetime_valid(&d))
        return false;
    if (weekday >= 0 && weekday != weekday_of(days_from_date(d.year, d.month, d.day)))
        return false;
    *out = d;
    return true;
}

// ---- durations --------------------------------------------------------------------------------

typedef struct {
    bool negative;
    int32_t months, days;
    int64_t seconds;
    int32_t nanos;
} Duration;

bool duration_parse(const char *s, Duration *out) {
    Duration d = {false, 0, 0, 0, 0};
    bool in_time = false, any = false;
    const char *order = "YMWD"; // designators still allowed
    d.negative = scan_char(&s, '-');
    if (!scan_char(&s, 'P'))
        return false;
    while (*s) {
        int value;
        if (!in_time && scan_char(&s, 'T')) {
            in_time = true;
            any = false;
            order = "HMS";
            continue;
        }
        if (!scan_digits(&s, 1, 6, &value))
            return false;
        if (in_time && scan_char(&s, '.') && (!scan_nanos(&s, &d.nanos) || *s != 'S'))
            return false;
        const char *unit = *s ? strchr(order, *s) : NULL;
        if (!unit)
            return false;
        switch (*unit) {
        case 'Y':
            d.months += value * 12;
            break;
        case 'W':
            d.days += value * 7;
            break;
        case 'D':
            d.days += value;
            break;
        case 'H':
            d.seconds += (int64_t)value * 3600;
            break;
        case 'S':
            d.seconds += value;
            break;
        case 'M':
            if (in_time)
                d.seconds += (int64_t)value * 60;
            else
                d.months += value;
            break;
        }
        order = unit + 1;
        any = true;
        s++;
    }
    *out = d;
    return any;
}

static void put_unit(Text *t, int64_t value, char unit) {
    if (value) {
        put_number(t, value, 1, 0);
        put_char(t, unit);
    }
}

void duration_format(Text *t, const Duration *d) {
    put_text(t, d->negative ? "-P" : "P");
    put_unit(t, d->months / 12, 'Y');
    put_unit(t, d->months % 12, 'M');
    put_unit(t, d->days, 'D');
    if (d->seconds || d->nanos) {
        put_char(t, 'T');
        put_unit(t, d->seconds / 3600, 'H');
        put_unit(t, d->seconds / 60 % 60, 'M');
        if (d->nanos) {
            put_number(t, d->seconds % 60, 1, 0);
            put_char(t, '.');
            put_number(t, d->nanos, 9, '0');
            while (t->data[t->length - 1] == '0')
                t->data[--t->length] = '\0';
            put_char(t, 'S');
        } else {
            put_unit(t, d->seconds % 60, 'S');
        }
    } else if (!d->months && !d->days) {
        put_text(t, "T0S");
    }
}

// Months first, with the day clamped to the length of the month; then days; then exact seconds.
DateTime datetime_add(const DateTime *start, const Duration *by) {
    int sign = by->negative ? -1 : 1;
    int64_t month = (int64_t)start->year * 12 + start->month - 1 + sign * by->months;
    DateTime d = *start;
    d.year = (int)floor_div(month, 12);
    d.month = (int)floor_mod(month, 12) + 1;
    if (d.day > days_in_month(d.year, d.month))
        d.day = days_in_month(d.year, d.month);
    int64_t nanos = (int64_t)start->nanos + sign * (int64_t)by->nanos;
    int64_t seconds = datetime_to_unix(&d) + sign * ((int64_t)by->days * 86400 + by->seconds);
    return datetime_from_unix(seconds + floor_div(nanos, 1000000000),
                              (int32_t)floor_mod(nanos, 1000000000), start->offset);
}

// "in 3 days", "2 hours ago", "just now"
void relative_format(Text *t, int64_t delta_seconds) {
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{31556952, "year"}, {2629746, "month"}, {604800, "week"}, {86400, "day"},
                 {3600, "hour"},     {60, "minute"},     {1, "second"}};
    int64_t distance = delta_seconds < 0 ? -delta_seconds : delta_seconds;
    if (distance < 10) {
        put_text(t, "just now");
        return;
    }
    int u = 0;
    while (distance < units[u].seconds)
        u++;
    int64_t count = (distance + units[u].seconds / 2) / units[u].seconds;
    if (delta_seconds > 0)
        put_text(t, "in ");
    put_number(t, count, 1, 0);
    put_char(t, ' ');
    put_text(t, units[u].name);
    if (count != 1)
        put_char(t, 's');
    if (delta_seconds < 0)
        put_text(t, " ago");
}

// ---- decimal numbers --------------------------------------------------------------------------

typedef struct {
    int64_t units; // value is units / 10^scale
    int scale;
} Decimal;

typedef enum { ROUND_HALF_UP, ROUND_HALF_EVEN, ROUND_DOWN, ROUND_CEILING, ROUND_FLOOR } Rounding;

typedef struct {
    const char *name;
    char point, separator;
    int first_group, other_groups; // sizes, counted from the decimal point
    const char *currency;
    bool currency_leads;
} NumberStyle;

static const NumberStyle styles[] = {
    {"en", '.', ',', 3, 3, "$", true},
    {"de", ',', '.', 3, 3, " EUR", false},
    {"hi", '.', ',', 3, 2, "Rs ", true},
    {"ch", '.', '\'', 3, 3, "Fr. ", true},
};
enum { STYLE_COUNT = sizeof styles / sizeof styles[0] };

// Changes the scale; false if the result does not fit.
bool decimal_rescale(Decimal *d, int scale, Rounding mode) {
    int64_t divisor = 1;
    for (; d->scale < scale; d->scale++) {
        if (d->units > INT64_MAX / 10 || d->units < -(INT64_MAX / 10))
            return false;
        d->units *= 10;
    }
    for (; d->scale > scale && divisor < INT64_MAX / 10; d->scale--)
        divisor *= 10;
    if (d->scale > scale)
        return false;
    int64_t quotient = d->units / divisor, rest = d->units % divisor;
    int direction = d->units < 0 ? -1 : 1;
    int64_t magnitude = rest < 0 ? -rest : rest;
    int half = magnitude > divisor - magnitude ? 1 : magnitude == divisor - magnitude ? 0 : -1;
    bool away = false;
    switch (mode) {
    case ROUND_HALF_UP:
        away = half >= 0;
        break;
    case ROUND_HALF_EVEN:
        away = half > 0 || (half == 0 && quotient % 2 != 0);
        break;
    case ROUND_DOWN:
        break;
    case ROUND_CEILING:
        away = rest > 0;
        break;
    case ROUND_FLOOR:
        away = rest < 0;
        break;
    }
    d->units = quotient + (away ? direction : 0);
    return true;
}

static bool group_boundary(const NumberStyle *style, int digits_left) {
    if (digits_left < style->first_group)
        return false;
    return (digits_left - style->first_group) % style->other_groups == 0;
}

enum { FORMAT_PLUS = 1, FORMAT_PARENTHESES = 2, FORMAT_CURRENCY = 4, FORMAT_PLAIN = 8 };

void decimal_format(Text *t, const Decimal *d, const NumberStyle *style, unsigned flags) {
    char digits[48];
    int n = 0;
    uint64_t rest = d->units < 0 ? 0u - (uint64_t)d->units : (uint64_t)d->units;
    while (rest || n <= d->scale) {
        digits[n++] = (char)('0' + rest % 10);
        rest /= 10;
    }
    if (d->units < 0)
        put_char(t, flags & FORMAT_PARENTHESES ? '(' : '-');
    else if (flags & FORMAT_PLUS)
        put_char(t, '+');
    if (flags & FORMAT_CURRENCY && style->currency_leads)
        put_text(t, style->currency);
    while (n-- > 0) {
        put_char(t, digits[n]);
        if (n > d->scale && !(flags & FORMAT_PLAIN) && group_boundary(style, n - d->scale))
            put_char(t, style->separator);
        else if (n == d->scale && n > 0)
            put_char(t, style->point);
    }
    if (flags & FORMAT_CURRENCY && !style->currency_leads)
        put_text(t, style->currency);
    if (d->units < 0 && flags & FORMAT_PARENTHESES)
        put_char(t, ')');
}

// Accepts an optional sign or accounting parentheses and checks where the separators are.
bool decimal_parse(const char *s, const NumberStyle *style, Decimal *out) {
    Decimal d = {0, 0};
    char digits[20];
    uint32_t separators = 0; // bit i: separator after i integer digits
    int n = 0, whole = -1;
    bool parentheses = scan_char(&s, '(');
    bool negative = parentheses || scan_char(&s, '-');
    if (!negative)
        scan_char(&s, '+');
    for (; is_digit(*s) || *s == style->separator || *s == style->point; s++) {
        if (is_digit(*s)) {
            if (n == 18)
                return false;
            digits[n++] = *s;
        } else if (whole >= 0) {
            return false;
        } else if (*s == style->point) {
            whole = n;
        } else {
            separators |= 1u << n;
        }
    }
    if (whole < 0)
        whole = n;
    else if (whole == n)
        return false;
    for (int i = 0; separators && i <= whole; i++) {
        bool expected = i > 0 && i < whole && group_boundary(style, whole - i);
        if (expected != (separators >> i & 1))
            return false;
    }
    if (n == 0 || (parentheses && !scan_char(&s, ')')) || *s)
        return false;
    for (int i = 0; i < n; i++)
        d.units = d.units * 10 + (digits[i] - '0');
    if (negative)
        d.units = -d.units;
    d.scale = n - whole;
    *out = d;
    return true;
}

// Engineering notation: an exponent that is a multiple of three, or its SI prefix.
void decimal_format_engineering(Text *t, Decimal d, bool prefix) {
    static const char prefixes[] = "pnum kMGTPE";
    int exponent = 0, shift;
    while (d.units != 0 && d.units % 10 == 0 && d.scale > -18) {
        d.units /= 10;
        d.scale--;
    }
    int digits = 0;
    for (int64_t v = d.units; v != 0; v /= 10)
        digits++;
    if (digits) {
        int leading = digits - 1 - d.scale; // power of ten of the first digit
        exponent = (int)floor_div(leading, 3) * 3;
    }
    d.scale += exponent;
    for (shift = d.scale; shift < 0; shift++)
        d.units *= 10;
    if (d.scale < 0)
        d.scale = 0;
    decimal_format(t, &d, &styles[0], FORMAT_PLAIN);
    if (prefix && exponent >= -12 && exponent <= 18) {
        if (exponent)
            put_char(t, prefixes[exponent / 3 + 4]);
    } else if (exponent) {
        put_char(t, 'e');
        put_number(t, exponent, 1, 0);
    }
}

void bytes_format(Text *t, uint64_t bytes) {
    static const char *const suffixes[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    uint64_t whole = bytes, rest = 0;
    int u = 0;
    for (; whole >= 1024; u++) {
        rest = whole % 1024;
        whole /= 1024;
    }
    put_number(t, (int64_t)whole, 1, 0);
    if (u > 0 && whole < 100) {
        put_char(t, '.');
        put_number(t, (int64_t)(rest * 10 / 1024), 1, 0);
    }
    put_char(t, ' ');
    put_text(t, suffixes[u]);
}

// ---- numerals ---------------------------------------------------------------------------------

static const struct {
    int value;
    const char *letters;
} roman_steps[] = {{1000, "M"}, {900, "CM"}, {500, "D"}, {400, "CD"}, {100, "C"},
                   {90, "XC"},  {50, "L"},   {40, "XL"}, {10, "X"},   {9, "IX"},
                   {5, "V"},    {4, "IV"},   {1, "I"}};

void roman_format(Text *t, int value) {
    for (int i = 0; value > 0; i++)
        for (; value >= roman_steps[i].value; value -= roman_steps[i].value)
            put_text(t, roman_steps[i].letters);
}

// Only the canonical spelling is accepted.
int roman_parse(const char *s) {
    char canonical[24];
    Text t = TEXT_ON(canonical);
    const char *p = s;
    int value = 0;
    canonical[0] = '\0';
    for (size_t i = 0; i < sizeof roman_steps / sizeof roman_steps[0]; i++) {
        size_t n = strlen(roman_steps[i].letters);
        for (; strncmp(p, roman_steps[i].letters, n) == 0; p += n)
            value += roman_steps[i].value;
    }
    if (*p || value == 0 || value >= 4000)
        return -1;
    roman_format(&t, value);
    return strcmp(canonical, s) == 0 ? value : -1;
}

static const char *ordinal_suffix(int64_t n) {
    if (n % 100 / 10 == 1)
        return "th";
    switch (n % 10) {
    case 1:
        return "st";
    case 2:
        return "nd";
    case 3:
        return "rd";
    default:
        return "th";
    }
}

void number_in_words(Text *t, uint64_t n) {
    static const char *const small[] = {"zero",    "one",     "two",       "three",    "four",
                                        "five",    "six",     "seven",     "eight",    "nine",
                                        "ten",     "eleven",  "twelve",    "thirteen", "fourteen",
                                        "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
    static const char *const tens[] = {"twenty", "thirty",  "forty",  "fifty",
                                       "sixty",  "seventy", "eighty", "ninety"};
    static const struct {
        uint64_t value;
        const char *name;
    } large[] = {{1000000000000000ull, "quadrillion"},
                 {1000000000000ull, "trillion"},
                 {1000000000ull, "billion"},
                 {1000000ull, "million"},
                 {1000ull, "thousand"},
                 {100ull, "hundred"}};
    if (n < 20) {
        put_text(t, small[n]);
    } else if (n < 100) {
        put_text(t, tens[n / 10 - 2]);
        if (n % 10) {
            put_char(t, '-');
            put_text(t, small[n % 10]);
        }
    } else {
        int i = 0;
        while (n < large[i].value)
            i++;
        number_in_words(t, n / large[i].value);
        put_char(t, ' ');
        put_text(t, large[i].name);
        if (n % large[i].value) {
            put_text(t, n % large[i].value < 100 ? " and " : " ");
            number_in_words(t, n % large[i].value);
        }
    }
}

// 0x, 0o and 0b prefixes and underscores between digits.
bool integer_parse(const char *s, uint64_t *out) {
    unsigned base = 10;
    bool digit_before = false;
    uint64_t value = 0;
    if (s[0] == '0' && s[1]) {
        base = s[1] == 'x' ? 16 : s[1] == 'o' ? 8 : s[1] == 'b' ? 2 : 0;
        s += 2;
    }
    for (; *s; s++) {
        unsigned digit = is_digit(*s) ? (unsigned)(*s - '0')
                         : to_lower(*s) >= 'a' && to_lower(*s) <= 'f'
                             ? (unsigned)(to_lower(*s) - 'a') + 10
                             : 99;
        if (*s == '_' && digit_before) {
            digit_before = false;
            continue;
        }
        if (digit >= base || value > (UINT64_MAX - digit) / base)
            return false;
        value = value * base + digit;
        digit_before = true;
    }
    *out = value;
    return digit_before;
}

// ---- message templates ------------------------------------------------------------------------

// %s text, %d int, %n grouped int64_t, %o ordinal int, %w int64_t in words, %t DateTime as ISO
// 8601, %b uint64_t bytes, %p Duration.
void text_format(Text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    for (; *format; format++) {
        if (*format != '%') {
            put_char(t, *format);
            continue;
        }
        switch (*++format) {
        case 's':
            put_text(t, va_arg(args, const char *));
            break;
        case 'd':
            put_number(t, va_arg(args, int), 1, 0);
            break;
        case 'n': {
            Decimal d = {va_arg(args, int64_t), 0};
            decimal_format(t, &d, &styles[0], 0);
            break;
        }
        case 'o': {
            int n = va_arg(args, int);
            put_number(t, n, 1, 0);
            put_text(t, ordinal_suffix(n));
            break;
        }
        case 'w':
            number_in_words(t, (uint64_t)va_arg(args, int64_t));
            break;
        case 't':
            datetime_format(t, "%FT%T%z", va_arg(args, const DateTime *));
            break;
        case 'b':
            bytes_format(t, va_arg(args, uint64_t));
            break;
        case 'p':
            duration_format(t, va_arg(args, const Duration *));
            break;
        default:
            put_char(t, *format);
            break;
        }
    }
    va_end(args);
}

// ---- self-test --------------------------------------------------------------------------------

static uint32_t checksum = 2166136261u;
static int failures;

static void mix(const char *s) {
    for (; *s; s++)
        checksum = (checksum ^ (unsigned char)*s) * 16777619u;
    checksum = checksum * 31u + 7u;
}

static void check(bool ok, const char *what) {
    if (!ok) {
        fprintf(stderr, "failed: %s\n", what);
        failures++;
    }
}

static void test_calendar(void) {
    DateTime d = {0, 0, 0, 0, 0, 0, 0, 0}, back;
    char buffer[96];
    for (int64_t days = -800000; days < 800000; days += 1237) {
        date_from_days(days, &d);
        check(days_from_date(d.year, d.month, d.day) == days, "day number");
        Text t = TEXT_ON(buffer);
        datetime_format(&t, days & 1 ? "%G-W%V-%u" : "%Y-%j", &d);
        if (d.year >= 1000)
            check(datetime_parse_iso(buffer, &back) && back.day == d.day && back.month == d.month,
                  buffer);
        mix(buffer);
    }
    for (int year = 1990; year < 2030; year += 3) {
        Text t = TEXT_ON(buffer);
        date_from_days(easter_sunday(year), &d);
        datetime_format(&t, "%A %-d %B %Y (%q)", &d);
        mix(buffer);
    }
}

static void test_parsing(void) {
    static const char *const good[] = {
        "2024-02-29T23:59:59.123456789+05:30",
        "20240229T101112Z",
        "2020-W53-7",
        "2021W011T0830-0800",
        "1999-365",
        "-0044-03-15",
        "2024-07",
        "2000-01-01 00:00,5",
    };
    static const char *const bad[] = {
        "2023-02-29",         "2024-13-01",
        "2024-1-1",           "2024-W54",
        "2023-366",           "2024-01-01T24:00",
        "2024-01-01T10:00+2", "2024-01-01T10:00:00.",
        "20240101x",          "",
    };
    char buffer[96];
    DateTime d, again;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        Text t = TEXT_ON(buffer);
        check(datetime_parse_iso(good[i], &d), good[i]);
        datetime_format(&t, "%a %b %_d %T.%N %z %y %I%p %s", &d);
        mix(buffer);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check(!datetime_parse_iso(bad[i], &d), bad[i]);

    check(datetime_parse("Thu, 1 Feb 2024 07:05:09 -0330", "%a, %d %b %Y %H:%M:%S %z", &d), "mail");
    check(datetime_parse("02/01/24  10:35:09 am", "%m/%d/%y %I:%M:%S %p", &again), "us");
    check(datetime_to_unix(&d) == datetime_to_unix(&again), "same instant");
    check(!datetime_parse("Wed, 1 Feb 2024", "%a, %d %b %Y", &d), "weekday mismatch");
    check(!datetime_parse("13 PM", "%I %p", &d), "hour of half day");
}

static void test_zones(void) {
    char buffer[96];
    int changes = 0;
    for (int z = 0; z < ZONE_COUNT; z++) {
        int previous = zones[z].offset[zone_is_daylight(&zones[z], 1704067200)];
        for (int64_t hour = 0; hour < 366 * 24; hour++) {
            DateTime d = datetime_in_zone(1704067200 + hour * 3600, &zones[z]);
            if (d.offset == previous)
                continue;
            Text t = TEXT_ON(buffer);
            text_format(&t, "%s %s %t", zones[z].name,
                        zones[z].short_names[d.offset != zones[z].offset[0]], &d);
            mix(buffer);
            previous = d.offset;
            changes++;
        }
    }
    check(changes == 6, "clock changes");
}

static void test_durations(void) {
    static const char *const texts[] = {"P1Y2M10DT2H30M", "-P1M",   "PT36H", "P3W",
                                        "PT0.25S",        "P1MT1M", "PT0S"};
    static const char *const bad[] = {"P", "1D", "P1H", "P1DT", "P1M1Y", "PT1.5M", "P-1D"};
    DateTime d = {2024, 3, 31, 12, 0, 0, 500000000, 60};
    Duration duration, again;
    char buffer[96];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        Text t = TEXT_ON(buffer);
        check(duration_parse(texts[i], &duration), texts[i]);
        duration_format(&t, &duration);
        check(duration_parse(buffer, &again) && again.seconds == duration.seconds &&
                  again.months == duration.months && again.days == duration.days &&
                  again.nanos == duration.nanos,
              buffer);
        DateTime moved = datetime_add(&d, &duration);
        text_format(&t, " %t ", &moved);
        relative_format(&t, datetime_to_unix(&moved) - datetime_to_unix(&d));
        mix(buffer);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check(!duration_parse(bad[i], &duration), bad[i]);
}

static void test_numbers(void) {
    static const int64_t samples[] = {0,       7,        -45,           1999,
                                      -123456, 98765432, 1234567890123, -250000000000005};
    char buffer[128];
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        for (int s = 0; s < STYLE_COUNT; s++) {
            Decimal d = {samples[i], 2 * (s & 1)}, back = {0, 0};
            Text t = TEXT_ON(buffer);
            decimal_format(&t, &d, &styles[s], s == 2 ? FORMAT_PARENTHESES : 0);
            check(decimal_parse(buffer, &styles[s], &back) && back.units == d.units &&
                      back.scale == d.scale,
                  buffer);
            decimal_format(&t, &d, &styles[s], FORMAT_CURRENCY | FORMAT_PLUS);
            decimal_format_engineering(&t, (Decimal){samples[i], s * 4}, s & 1);
            mix(buffer);
        }
        for (int mode = ROUND_HALF_UP; mode <= ROUND_FLOOR; mode++) {
            Decimal d = {samples[i], 3};
            check(decimal_rescale(&d, 1, (Rounding)mode), "rescale");
            Text t = TEXT_ON(buffer);
            decimal_format(&t, &d, &styles[1], 0);
            mix(buffer);
        }
    }
    Decimal d;
    check(!decimal_parse("1,23,456", &styles[0], &d), "western grouping");
    check(decimal_parse("1,23,456.5", &styles[2], &d) && d.units == 1234565, "indian grouping");
    check(!decimal_parse("1.", &styles[0], &d) && !decimal_parse("(5", &styles[0], &d),
          "unfinished");
    check(!decimal_parse(",123", &styles[0], &d) && !decimal_parse("", &styles[0], &d), "empty");
}

static void test_numerals(void) {
    static const char *const integers[] = {"0xff_ff", "0b1010", "0o777", "1_000_000", "0"};
    static const char *const bad[] = {"0x", "12a", "_1", "1__0", "18446744073709551616", "007"};
    char buffer[192];
    uint64_t value;
    for (int n = 1; n < 4000; n += 37) {
        Text t = TEXT_ON(buffer);
        roman_format(&t, n);
        check(roman_parse(buffer) == n, buffer);
        text_format(&t, " %o %w %b", n, (int64_t)n * n * n * 1001, (uint64_t)n << (n & 40));
        check(!t.overflow, "overflow");
        mix(buffer);
    }
    check(roman_parse("IIII") < 0 && roman_parse("VX") < 0 && roman_parse("") < 0, "bad numerals");
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++) {
        check(integer_parse(integers[i], &value), integers[i]);
        checksum = checksum * 33u + (uint32_t)value;
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check(!integer_parse(bad[i], &value), bad[i]);
}

int main(void) {
    char line[160];
    test_calendar();
    test_parsing();
    test_zones();
    test_durations();
    test_numbers();
    test_numerals();

    DateTime moon = datetime_from_unix(-14182940, 0, 0);
    Text t = TEXT_ON(line);
    text_format(&t, "moon landing %t, the %o day of the year", &moon, day_of_year(&moon));
    printf("%s\n", line);
    printf("%d failures\n", failures);
    printf("checksum %08x\n", checksum);
    return failures ? 1 : 0;
}
