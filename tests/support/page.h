/* page.h - what every page of ours must satisfy. */
#ifndef KN_TEST_PAGE_H
#define KN_TEST_PAGE_H

/* Tags are balanced and in place, text is escaped, nothing is run, nothing outside is loaded. */
void page_check(const char *html);

#endif
