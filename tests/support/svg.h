/* svg.h - what every picture of ours must satisfy, looked for in its text. */
#ifndef KN_TEST_SVG_H
#define KN_TEST_SVG_H

/* Well formed, no two texts overlap, nothing leaves the picture. */
void svg_check(const char *svg);

/* How often part is in text. */
int svg_count(const char *text, const char *part);

/* part is somewhere in text. */
void svg_contains(const char *text, const char *part);

#endif
