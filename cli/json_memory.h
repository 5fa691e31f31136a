/* json_memory.h - what the command does where jansson gets no memory. */
#ifndef KILN_CLI_JSON_MEMORY_H
#define KILN_CLI_JSON_MEMORY_H

#include "report.h"

/* To call once, before any JSON is read; r must outlive it. */
void json_memory_watch(report *r);

#endif
