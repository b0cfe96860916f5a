/* The search for the nearest codes on a trellis, which only compression needs; trellis.py has the
   same in numpy, and says what it is. */

#ifndef EDGEKIT_TRELLIS_H
#define EDGEKIT_TRELLIS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

enum { EKK_STATES = 64, EKK_LOWEST = 33, EKK_SECOND = 10 };

/* The state before one that a code with this second bit leads to. */
static unsigned ekk_origin(unsigned state, unsigned second) {
    unsigned low = state / (EKK_STATES / 2);
    return ((state ^ low * EKK_LOWEST ^ second * EKK_SECOND) << 1) | low;
}

static unsigned ekk_cheapest(const double *costs) {
    unsigned best = 0, state;
    for (state = 1; state < EKK_STATES; state++)
        best = costs[state] < costs[best] ? state : best;
    return best;
}

/* The nearest code of one subset, chapter 4.7: those of the same two lowest bits. */
static int8_t ekk_nearest(double wanted, int subset, int limit) {
    int highest = limit - (limit - subset) % 4, lowest = (limit + subset) % 4 - limit;
    int code = 4 * (int)rint((wanted - subset) / 4) + subset;
    return (int8_t)(code > highest ? highest : code < lowest ? lowest : code);
}

/* Viterbi's algorithm along one path. For each element `work` has room for four codes, the state
   before a new beginning, and the second bits by which the states are reached. */
static void ekk_search_path(const double *wanted, const double *weights, const uint8_t *begins,
                            size_t count, int limit, int8_t *work, int8_t *codes) {
    enum { HALF = EKK_STATES / 2 };
    int8_t *nearest = work;
    uint8_t *ends = (uint8_t *)work + 4 * count, *seconds = ends + count;
    double costs[EKK_STATES], with_0[EKK_STATES], with_1[EKK_STATES], errors[4], number, distance;
    unsigned state, subset;
    size_t i;
    for (state = 0; state < EKK_STATES; state++)
        costs[state] = state ? INFINITY : 0;
    for (i = 0; i < count; i++, nearest += 4, seconds += EKK_STATES) {
        number = wanted[i] > -1024 ? wanted[i] < 1024 ? wanted[i] : 1024 : -1024;
        for (subset = 0; subset < 4; subset++) {
            nearest[subset] = ekk_nearest(number, (int)subset, limit);
            distance = number - nearest[subset];
            errors[subset] = distance * distance * weights[i];
        }
        if (begins[i]) {
            ends[i] = (uint8_t)ekk_cheapest(costs);
            costs[0] = costs[ends[i]];
            for (state = 1; state < EKK_STATES; state++)
                costs[state] = INFINITY;
        }
        /* In loops of their own, so that a compiler takes the smaller of two without a branch. */
        for (state = 0; state < HALF; state++) {
            with_0[state] = costs[ekk_origin(state, 0)] + errors[0];
            with_1[state] = costs[ekk_origin(state, 1)] + errors[2];
        }
        for (; state < EKK_STATES; state++) {
            with_0[state] = costs[ekk_origin(state, 0)] + errors[1];
            with_1[state] = costs[ekk_origin(state, 1)] + errors[3];
        }
        for (state = 0; state < EKK_STATES; state++)
            costs[state] = with_1[state] < with_0[state] ? with_1[state] : with_0[state];
        for (state = 0; state < EKK_STATES; state++)
            seconds[state] = with_1[state] < with_0[state];
    }
    for (state = ekk_cheapest(costs); i-- > 0;) {
        unsigned second;
        seconds -= EKK_STATES;
        second = seconds[state];
        codes[i] = work[4 * i + (state / HALF | second << 1)];
        state = begins[i] ? ends[i] : ekk_origin(state, second);
    }
}

/* All paths, each of `count` elements behind the one before. work has room for 69 * count. */
static void ekk_search_trellis(const double *wanted, const double *weights, const uint8_t *begins,
                               size_t paths, size_t count, int limit, int8_t *work, int8_t *codes) {
    for (; paths; paths--, wanted += count, begins += count, codes += count)
        ekk_search_path(wanted, weights, begins, count, limit, work, codes);
}

#endif
