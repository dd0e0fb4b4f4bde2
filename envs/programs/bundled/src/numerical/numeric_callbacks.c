// Callback driven numerics: explicit Runge-Kutta integrators from Butcher tableaux with an
// adaptive driver, bracketing and Newton root finders, Simpson and Gauss quadrature.
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define MAX_STAGES 7
#define MAX_DIM 4

typedef double (*scalar_fn)(double x, void *ctx);
typedef void (*rhs_fn)(double t, const double *y, double *dydt, void *ctx);

// ---- Runge-Kutta ------------------------------------------------------------------------

typedef struct {
    const char *name;
    int stages;
    int order;
    double c[MAX_STAGES];
    double a[MAX_STAGES][MAX_STAGES];
    double b[MAX_STAGES];
    double b_err[MAX_STAGES]; // weights of the embedded method minus b, all zero if none
} tableau;

static const tableau midpoint = {
    "midpoint", 2, 2, {0.0, 0.5}, {{0}, {0.5}}, {0.0, 1.0}, {0},
};

static const tableau classic4 = {
    "rk4",
    4,
    4,
    {0.0, 0.5, 0.5, 1.0},
    {{0}, {0.5}, {0.0, 0.5}, {0.0, 0.0, 1.0}},
    {1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6},
    {0},
};

static const tableau bogacki23 = {
    "bs23",
    4,
    3,
    {0.0, 0.5, 0.75, 1.0},
    {{0}, {0.5}, {0.0, 0.75}, {2.0 / 9, 1.0 / 3, 4.0 / 9}},
    {2.0 / 9, 1.0 / 3, 4.0 / 9, 0.0},
    {7.0 / 24 - 2.0 / 9, 0.25 - 1.0 / 3, 1.0 / 3 - 4.0 / 9, 0.125},
};

static const tableau cash_karp = {
    "ck45",
    6,
    5,
    {0.0, 0.2, 0.3, 0.6, 1.0, 0.875},
    {{0},
     {0.2},
     {3.0 / 40, 9.0 / 40},
     {0.3, -0.9, 1.2},
     {-11.0 / 54, 2.5, -70.0 / 27, 35.0 / 27},
     {1631.0 / 55296, 175.0 / 512, 575.0 / 13824, 44275.0 / 110592, 253.0 / 4096}},
    {37.0 / 378, 0.0, 250.0 / 621, 125.0 / 594, 0.0, 512.0 / 1771},
    {2825.0 / 27648 - 37.0 / 378, 0.0, 18575.0 / 48384 - 250.0 / 621, 13525.0 / 55296 - 125.0 / 594,
     277.0 / 14336, 0.25 - 512.0 / 1771},
};

typedef struct {
    rhs_fn rhs;
    void *ctx;
    int dim;
} ode_problem;

// One step of size h from y into out; returns the largest embedded error component.
static double rk_step(const tableau *tb, const ode_problem *p, double t, double h, const double *y,
                      double *out) {
    double k[MAX_STAGES][MAX_DIM], tmp[MAX_DIM], worst = 0.0;
    for (int s = 0; s < tb->stages; s++) {
        for (int i = 0; i < p->dim; i++) {
            tmp[i] = y[i];
            for (int r = 0; r < s; r++)
                tmp[i] += h * tb->a[s][r] * k[r][i];
        }
        p->rhs(t + tb->c[s] * h, tmp, k[s], p->ctx);
    }
    for (int i = 0; i < p->dim; i++) {
        double sum = 0.0, err = 0.0;
        for (int s = 0; s < tb->stages; s++) {
            sum += tb->b[s] * k[s][i];
            err += tb->b_err[s] * k[s][i];
        }
        out[i] = y[i] + h * sum;
        worst = fmax(worst, fabs(h * err));
    }
    return worst;
}

void ode_fixed(const tableau *tb, const ode_problem *p, double t0, double t1, int steps,
               double *y) {
    double h = (t1 - t0) / steps;
    for (int i = 0; i < steps; i++)
        rk_step(tb, p, t0 + i * h, h, y, y);
}

// Returns the number of accepted steps, or -1 when the step size underflows.
int ode_adaptive(const tableau *tb, const ode_problem *p, double t0, double t1, double tol,
                 double *y) {
    double t = t0, h = (t1 - t0) / 64, next[MAX_DIM];
    int accepted = 0;
    while (t < t1) {
        if (t + h > t1)
            h = t1 - t;
        if (h < 1e-12)
            return t1 - t < 1e-11 ? accepted : -1;
        double err = rk_step(tb, p, t, h, y, next);
        if (err <= tol) {
            t += h;
            accepted++;
            for (int i = 0; i < p->dim; i++)
                y[i] = next[i];
            if (err < tol / 64)
                h *= 2.0;
        } else {
            h *= 0.5;
        }
    }
    return accepted;
}

// ---- roots ------------------------------------------------------------------------------

typedef enum { ROOT_OK, ROOT_NO_BRACKET, ROOT_FLAT, ROOT_NO_CONVERGENCE } root_status;

root_status root_bisect(scalar_fn f, void *ctx, double lo, double hi, double *root) {
    double flo = f(lo, ctx);
    if (flo * f(hi, ctx) > 0.0)
        return ROOT_NO_BRACKET;
    while (hi - lo > 1e-12 * (1.0 + fabs(lo))) {
        double mid = lo + (hi - lo) / 2, fm = f(mid, ctx);
        if ((fm < 0.0) == (flo < 0.0))
            lo = mid;
        else
            hi = mid;
    }
    *root = lo + (hi - lo) / 2;
    return ROOT_OK;
}

// Illinois variant of regula falsi.
root_status root_illinois(scalar_fn f, void *ctx, double a, double b, double *root) {
    double fa = f(a, ctx), fb = f(b, ctx);
    if (fa * fb > 0.0)
        return ROOT_NO_BRACKET;
    for (int i = 0; i < 100; i++) {
        double c = (a * fb - b * fa) / (fb - fa), fc = f(c, ctx);
        *root = c;
        if (fabs(fc) < 1e-13)
            return ROOT_OK;
        if (fc * fb < 0.0) {
            a = b;
            fa = fb;
        } else {
            fa /= 2;
        }
        b = c;
        fb = fc;
    }
    return fabs(b - a) < 1e-9 ? ROOT_OK : ROOT_NO_CONVERGENCE;
}

root_status root_newton(scalar_fn f, void *ctx, double x, double *root) {
    for (int i = 0; i < 60; i++) {
        double h = 1e-6 * (1.0 + fabs(x));
        double fx = f(x, ctx), slope = (f(x + h, ctx) - f(x - h, ctx)) / (2 * h);
        if (slope == 0.0)
            return ROOT_FLAT;
        double dx = fx / slope;
        x -= dx;
        if (fabs(dx) < 1e-11 * (1.0 + fabs(x))) {
            *root = x;
            return ROOT_OK;
        }
    }
    return ROOT_NO_CONVERGENCE;
}

// ---- quadrature -------------------------------------------------------------------------

static double simpson_panel(scalar_fn f, void *ctx, double a, double fa, double b, double fb,
                            double m, double fm, double whole, double tol, int depth) {
    double lm = (a + m) / 2, rm = (m + b) / 2;
    double flm = f(lm, ctx), frm = f(rm, ctx);
    double left = (m - a) / 6 * (fa + 4 * flm + fm);
    double right = (b - m) / 6 * (fm + 4 * frm + fb);
    double delta = left + right - whole;
    if (depth == 0 || fabs(delta) <= 15 * tol)
        return left + right + delta / 15;
    return simpson_panel(f, ctx, a, fa, m, fm, lm, flm, left, tol / 2, depth - 1) +
           simpson_panel(f, ctx, m, fm, b, fb, rm, frm, right, tol / 2, depth - 1);
}

double quad_simpson(scalar_fn f, void *ctx, double a, double b, double tol) {
    double m = (a + b) / 2, fa = f(a, ctx), fb = f(b, ctx), fm = f(m, ctx);
    double whole = (b - a) / 6 * (fa + 4 * fm + fb);
    return simpson_panel(f, ctx, a, fa, b, fb, m, fm, whole, tol, 24);
}

// Composite five point Gauss-Legendre rule.
double quad_gauss(scalar_fn f, void *ctx, double a, double b, int panels) {
    static const double node[3] = {0.0, 0.5384693101056831, 0.9061798459386640};
    static const double weight[3] = {0.5688888888888889, 0.4786286704993665, 0.2369268850561891};
    double half = (b - a) / panels / 2, sum = 0.0;
    for (int p = 0; p < panels; p++) {
        double mid = a + half * (2 * p + 1);
        sum += weight[0] * f(mid, ctx);
        for (int i = 1; i < 3; i++)
            sum += weight[i] * (f(mid - half * node[i], ctx) + f(mid + half * node[i], ctx));
    }
    return half * sum;
}

// ---- problems ---------------------------------------------------------------------------

typedef struct {
    double gravity_over_length;
    double damping;
    long evaluations;
} pendulum;

static void pendulum_rhs(double t, const double *y, double *dydt, void *ctx) {
    pendulum *p = ctx;
    (void)t;
    p->evaluations++;
    dydt[0] = y[1];
    dydt[1] = -p->gravity_over_length * sin(y[0]) - p->damping * y[1];
}

static void predator_prey_rhs(double t, const double *y, double *dydt, void *ctx) {
    const double *rate = ctx;
    (void)t;
    dydt[0] = y[0] * (rate[0] - rate[1] * y[1]);
    dydt[1] = y[1] * (rate[2] * y[0] - rate[3]);
}

static double kepler(double ecc_anomaly, void *ctx) {
    const double *orbit = ctx; // eccentricity, mean anomaly
    return ecc_anomaly - orbit[0] * sin(ecc_anomaly) - orbit[1];
}

static double cubic(double x, void *ctx) {
    (void)ctx;
    return (x * x - 2) * x - 5;
}

static double bell(double x, void *ctx) {
    double width = *(double *)ctx;
    return exp(-x * x / (2 * width * width));
}

static double half_circle(double x, void *ctx) {
    (void)ctx;
    return sqrt(fmax(0.0, 1.0 - x * x));
}

// Event location: where does the pendulum angle cross zero, as a function of time.
static double pendulum_angle(double t, void *ctx) {
    double y[2] = {1.0, 0.0};
    ode_problem p = {pendulum_rhs, ctx, 2};
    if (t > 0.0)
        ode_fixed(&classic4, &p, 0.0, t, 40, y);
    return y[0];
}

static uint64_t digest = 17;

static void note(const double *x, int n) {
    for (int i = 0; i < n; i++)
        digest = digest * 1099511628211u + (uint64_t)(int64_t)floor(x[i] * 1e5 + 0.5);
}

int main(void) {
    int bad = 0;
    const tableau *embedded[] = {&bogacki23, &cash_karp}, *fixed[] = {&midpoint, &classic4};
    double rates[4] = {1.1, 0.4, 0.1, 0.4}, reference[2];

    for (int i = 0; i < 2; i++) {
        pendulum pend = {9.81, 0.05, 0};
        double y[2] = {2.5, 0.0}, z[2] = {2.5, 0.0};
        ode_problem swing = {pendulum_rhs, &pend, 2};
        int steps = ode_adaptive(embedded[i], &swing, 0.0, 3.0, 1e-8, y);
        ode_fixed(fixed[i], &swing, 0.0, 3.0, 2000, z);
        bad += steps < 10 || fabs(y[0] - z[0]) > 1e-3;
        note(y, 1);
        note(z, 1);
        printf("%s: angle %.4f, %s: angle %.4f\n", embedded[i]->name, y[0], fixed[i]->name, z[0]);
    }
    // Observed order: halving the step must shrink the error by about 2^order.
    for (int i = 0; i < 2; i++) {
        double err[2];
        ode_problem hunt = {predator_prey_rhs, rates, 2};
        reference[0] = 10.0, reference[1] = 2.0;
        bad += ode_adaptive(&cash_karp, &hunt, 0.0, 2.0, 1e-12, reference) < 0;
        for (int j = 0; j < 2; j++) {
            double y[2] = {10.0, 2.0};
            ode_fixed(fixed[i], &hunt, 0.0, 2.0, 80 << j, y);
            err[j] = fabs(y[0] - reference[0]);
        }
        int order = (int)(log2(err[0] / err[1]) + 0.5);
        bad += order != fixed[i]->order;
        printf("%s observed order %d\n", fixed[i]->name, order);
    }

    double orbit[2] = {0.6, 1.2}, r[4] = {0};
    pendulum free_swing = {9.81, 0.0, 0};
    root_status st[4] = {
        root_bisect(kepler, orbit, 0.0, 3.2, &r[0]),
        root_newton(kepler, orbit, 1.2, &r[1]),
        root_illinois(cubic, NULL, 2.0, 3.0, &r[2]),
        root_illinois(pendulum_angle, &free_swing, 0.1, 1.0, &r[3]),
    };
    for (int i = 0; i < 4; i++)
        bad += st[i] != ROOT_OK;
    bad += fabs(r[0] - r[1]) > 1e-9 || root_bisect(cubic, NULL, 5.0, 6.0, &r[0]) == ROOT_OK;
    note(r, 4);
    printf("roots %.6f %.6f quarter period %.5f\n", r[1], r[2], r[3]);

    double width = 0.5;
    double area[3] = {
        quad_simpson(bell, &width, -4.0, 4.0, 1e-10),
        quad_gauss(bell, &width, -4.0, 4.0, 20),
        2 * quad_simpson(half_circle, NULL, -1.0, 1.0, 1e-9),
    };
    bad += fabs(area[0] - area[1]) > 1e-8;
    note(area, 3);
    printf("bell %.6f pi %.5f bad %d\n", area[0], area[2], bad);
    printf("checksum %016llx\n", (unsigned long long)digest);
    return bad != 0;
}
