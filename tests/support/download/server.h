/* server.h - a small HTTP server on 127.0.0.1 that misbehaves on demand. It answers one request at
 * a time, from a thread, and keeps what it was asked. */
#ifndef KN_TEST_SERVER_H
#define KN_TEST_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

enum { SERVER_REQUESTS = 16, SERVER_TEXT = 256 };

/* What is done with one request. Zero is good behaviour: 200 and all of the body, or for a Range of
 * this version 206 and the rest. */
typedef struct server_answer {
    int status;           /* this error, with a short page; 0: the body */
    const char *location; /* for a redirect */
    const void *body;
    size_t bytes;
    const char *etag;  /* with its quotes; NULL: none */
    size_t cut;        /* the connection is closed after so many bytes of it; 0: never */
    size_t stall;      /* after so many bytes nothing more comes, */
    int pause;         /* or only after so many milliseconds; 0: never */
    long announce;     /* Content-Length to lie about; 0: the truth; -1: none */
    bool ignore_range; /* all of it, whatever was asked */
    bool wrong_range;  /* 206, but from the beginning */
    bool endless;      /* zeros follow the body until the client hangs up */
    const char *retry_after;
} server_answer;

typedef struct server_request {
    char path[SERVER_TEXT], range[SERVER_TEXT], if_range[SERVER_TEXT]; /* empty: none */
} server_request;

typedef struct server {
    int listener, port;
    pthread_t thread;
    pthread_mutex_t mutex;
    bool stopping;
    const server_answer *script; /* the n-th request gets the n-th answer, further ones the last */
    int answers, requests;
    server_request request[SERVER_REQUESTS];
    void *tls; /* an SSL_CTX, or NULL for plain HTTP */
} server;

/* Starts it; fails the test when it cannot. script must stay until server_stop. */
void server_start(server *s, const server_answer *script, int answers);

/* The same over TLS. Makes a key and a certificate for the name, and writes that to the file. */
void server_start_tls(server *s, const server_answer *script, int answers, const char *name,
                      const char *certificate_file);

/* Answers a request that has begun, and ends. What was asked can be read until then and after. */
void server_stop(server *s);

/* "http://127.0.0.1:PORT/data.tgz" into url; returns url. */
const char *server_url(const server *s, const char *scheme, const char *host,
                       char url[SERVER_TEXT]);

#endif
