/* explain_page.c - what the page of kiln explain says, from the parts that every page is made of.
 */
#include "explain.h"
#include "number.h"
#include "page_parts.h"

#include "formats/html.h"

#include <stdio.h>
#include <string.h>

enum { TOP = 5, PAIRS = 15, MOST_DRAWN = 300 };

/* ---- words ---- */

/* Below the data's folder, which the page's head names. */
static const char *short_path(const evaluation *e, const char *path) {
    size_t root = strlen(e->folder);
    return strncmp(path, e->folder, root) == 0 && path[root] == '/' ? path + root + 1 : path;
}

/* ---- the top ---- */

static void put_top(kn_text *t, const evaluation *e) {
    const args *a = &e->s->a;
    const char *model = a->weights != NULL ? a->weights : a->word[0];
    kn_text line = {0};
    char count[NUMBER_TEXT];
    kn_text_printf(&line, "%s (%s, pictures of %d by %d) on %s %spictures of %s%s", model,
                   e->m.arch, e->m.size, e->m.size, number_text(e->p.samples, count),
                   e->held_out ? "held-out " : "", e->data, a->tta ? ", each also mirrored" : "");
    kn_html_open(t, "What the model gets wrong", line.data, 0);
    t->failed = t->failed || line.failed;
    kn_text_free(&line);
}

static void put_facts(kn_text *t, const evaluation *e) {
    char text[PAGE_CELL], all[NUMBER_TEXT], part[NUMBER_TEXT];
    int64_t wrong = 0;
    for (int64_t i = 0; i < e->p.samples; i++)
        wrong += e->p.rank[i] > 0;
    kn_html_section(t, NULL);
    kn_html_facts_open(t);
    kn_html_fact(t, "accuracy", page_real(100 * e->results.acc, "%.2f%%", text));
    if (e->confusion.classes > TOP)
        kn_html_fact(t, "top-5 accuracy",
                     page_real(100 * kn_top_k_accuracy(&e->p, TOP), "%.2f%%", text));
    kn_html_fact(t, "loss", page_real(e->results.loss, "%.4f", text));
    snprintf(text, sizeof text, "wrong, of %s", number_text(e->p.samples, all));
    kn_html_fact(t, text, number_text(wrong, part));
    kn_html_facts_close(t);
    kn_html_section_end(t);
}

/* ---- what was taken for what ---- */

static void put_matrix(kn_text *t, const evaluation *e) {
    if (e->confusion.classes <= MOST_DRAWN) {
        page_confusion(t, &e->confusion, e->split.vocab.name);
        return;
    }
    kn_html_section(t, "Confusion");
    kn_html_note(t, "Too many classes for this page: kiln eval -o DIR writes the matrix.");
    kn_html_section_end(t);
}

static void put_confused(kn_text *t, const evaluation *e) {
    static const char *const heads[] = {"class", "taken for", "pictures"};
    char *const *name = e->split.vocab.name;
    kn_confused pair[PAIRS];
    char count[NUMBER_TEXT];
    int pairs = kn_most_confused(&e->confusion, 1, PAIRS, pair);
    kn_html_section(t, "Most confused");
    if (pairs == 0)
        kn_html_note(t, "No picture was taken for another class.");
    else {
        kn_html_words_table_open(t, heads, 3, 2);
        for (int i = 0; i < pairs; i++) {
            const char *cells[] = {name[pair[i].label], name[pair[i].predicted],
                                   number_text(pair[i].count, count)};
            kn_html_row(t, cells, 3, false);
        }
        kn_html_table_close(t);
    }
    kn_html_section_end(t);
}

/* ---- classes ---- */

static void put_row(kn_text *t, const char *name, const kn_class_score *score, bool mean) {
    char text[3][PAGE_CELL], count[NUMBER_TEXT];
    const char *cells[] = {name, page_real(score->precision, "%.3f", text[0]),
                           page_real(score->recall, "%.3f", text[1]),
                           page_real(score->f1, "%.3f", text[2]),
                           number_text(score->support, count)};
    kn_html_row(t, cells, 5, mean);
}

static void put_classes(kn_text *t, const evaluation *e) {
    static const char *const heads[] = {"class", "precision", "recall", "F1", "pictures"};
    kn_class_score macro = kn_average_score(&e->confusion, false),
                   weighted = kn_average_score(&e->confusion, true);
    kn_html_section(t, "Classes");
    kn_html_words_table_open(t, heads, 5, 1);
    for (int i = 0; i < e->confusion.classes; i++)
        put_row(t, e->split.vocab.name[i], &e->score[i], false);
    put_row(t, "mean", &macro, true);
    put_row(t, "weighted mean", &weighted, true);
    kn_html_table_close(t);
    kn_html_note(t, "Precision: of what was predicted as the class, how much is of it. Recall: of "
                    "the class, how much was found. F1: their harmonic mean.");
    kn_html_section_end(t);
}

/* ---- pictures ---- */

void explain_card(explain *x, int64_t place, const kn_text *picture, const kn_text *heat) {
    const evaluation *e = &x->e;
    const kn_predictions *p = &e->p;
    bool hit = p->rank[place] == 0;
    char prob[PAGE_CELL], loss[PAGE_CELL], note[2 * PAGE_CELL + 32];
    snprintf(note, sizeof note, "%s sure, loss %s",
             page_real(100 * (double)p->prob[place], "%.1f%%", prob),
             page_real((double)p->loss[place], "%.2f", loss));
    kn_html_put_card(&x->page,
                     &(kn_html_card){.picture = picture->data,
                                     .over = heat != NULL ? heat->data : NULL,
                                     .head = e->split.vocab.name[p->label[place]],
                                     .text = hit ? "found" : "taken for ",
                                     .wrong = hit ? NULL : e->split.vocab.name[p->predicted[place]],
                                     .note = note,
                                     .path = short_path(e, e->split.valid[p->index[place]].path)});
}

static void open_pictures(explain *x) {
    kn_html_section(&x->page, "Highest losses");
    kn_html_note(&x->page,
                 "The pictures whose true class the model thought least likely, the worst "
                 "first: look for wrong labels, odd pictures and classes that look "
                 "alike.");
    kn_html_cards_open(&x->page, "Show what spoke for the predicted class (Grad-CAM)");
}

/* ---- the page ---- */

void explain_open_page(explain *x) {
    put_top(&x->page, &x->e);
    put_facts(&x->page, &x->e);
    put_matrix(&x->page, &x->e);
    put_confused(&x->page, &x->e);
    if (x->count > 0)
        open_pictures(x);
}

void explain_close_page(explain *x) {
    if (x->count > 0) {
        kn_html_cards_close(&x->page);
        kn_html_section_end(&x->page);
    }
    put_classes(&x->page, &x->e);
    kn_html_note(&x->page, "kiln " KN_VERSION);
    kn_html_close(&x->page);
}
