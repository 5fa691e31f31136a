/* server.c - see server.h. */
#include "support/download/server.h"

#include "support/check.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- one connection, plain or TLS ---- */

typedef struct line {
    int fd;
    SSL *tls; /* NULL: plain */
} line;

static bool send_all(const line *l, const void *data, size_t bytes) {
    const char *at = data;
    while (bytes > 0) {
        ssize_t n = l->tls != NULL ? SSL_write(l->tls, at, (int)(bytes < 16384 ? bytes : 16384))
                                   : send(l->fd, at, bytes, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

/* The request's head into text; false when none comes. */
static bool receive(const line *l, char *text, size_t size) {
    size_t used = 0;
    while (used + 1 < size) {
        ssize_t n = l->tls != NULL ? SSL_read(l->tls, text + used, (int)(size - 1 - used))
                                   : recv(l->fd, text + used, size - 1 - used, 0);
        if (n <= 0)
            return false;
        used += (size_t)n;
        text[used] = '\0';
        if (strstr(text, "\r\n\r\n") != NULL)
            return true;
    }
    return false;
}

/* Until the client goes, or for so many milliseconds. */
static void wait_for_end(const line *l, int limit) {
    struct pollfd p = {.fd = l->fd, .events = POLLIN};
    poll(&p, 1, limit);
}

/* ---- what was asked ---- */

static void header(const char *head, const char *name, char value[SERVER_TEXT]) {
    value[0] = '\0';
    for (const char *at = head; (at = strstr(at, "\r\n")) != NULL;) {
        at += 2;
        if (strncasecmp(at, name, strlen(name)) == 0) {
            at += strlen(name) + strspn(at + strlen(name), ": ");
            snprintf(value, SERVER_TEXT, "%.*s", (int)strcspn(at, "\r"), at);
        }
    }
}

static const server_answer *note(server *s, const char *head, server_request *asked) {
    const char *path = strchr(head, ' ');
    snprintf(asked->path, sizeof asked->path, "%.*s",
             path != NULL ? (int)strcspn(path + 1, " ") : 0, path != NULL ? path + 1 : "");
    header(head, "Range", asked->range);
    header(head, "If-Range", asked->if_range);
    pthread_mutex_lock(&s->mutex);
    int n = s->requests++;
    if (n < SERVER_REQUESTS)
        s->request[n] = *asked;
    pthread_mutex_unlock(&s->mutex);
    return &s->script[n < s->answers ? n : s->answers - 1];
}

/* ---- answering ---- */

static void send_error(const line *l, const server_answer *a) {
    char head[1024];
    int length = snprintf(
        head, sizeof head,
        "HTTP/1.1 %d Answer\r\nContent-Length: 5\r\nConnection: close\r\n"
        "%s%s%s%s%s%s\r\nnone\n",
        a->status, a->location != NULL ? "Location: " : "", a->location != NULL ? a->location : "",
        a->location != NULL ? "\r\n" : "", a->retry_after != NULL ? "Retry-After: " : "",
        a->retry_after != NULL ? a->retry_after : "", a->retry_after != NULL ? "\r\n" : "");
    send_all(l, head, (size_t)length);
}

/* Where the body begins, by the rules of HTTP or against them. */
static size_t first_byte(const server_answer *a, const server_request *asked) {
    unsigned long from;
    bool same =
        asked->if_range[0] == '\0' || (a->etag != NULL && strcmp(asked->if_range, a->etag) == 0);
    if (a->ignore_range || !same || sscanf(asked->range, "bytes=%lu-", &from) != 1 ||
        from >= a->bytes)
        return 0;
    return (size_t)from;
}

static bool send_head(const line *l, const server_answer *a, size_t from) {
    char head[1024], length[64] = "", range[128] = "", etag[SERVER_TEXT] = "";
    size_t start = a->wrong_range ? 0 : from;
    if (a->announce >= 0)
        snprintf(length, sizeof length, "Content-Length: %ld\r\n",
                 a->announce > 0 ? a->announce : (long)(a->bytes - start));
    if (from > 0)
        snprintf(range, sizeof range, "Content-Range: bytes %zu-%zu/%zu\r\n", start, a->bytes - 1,
                 a->bytes);
    if (a->etag != NULL)
        snprintf(etag, sizeof etag, "ETag: %s\r\n", a->etag);
    int used = snprintf(head, sizeof head, "HTTP/1.1 %s\r\n%s%s%sConnection: close\r\n\r\n",
                        from > 0 ? "206 Partial Content" : "200 OK", length, range, etag);
    return send_all(l, head, (size_t)used);
}

static void send_body(const line *l, const server_answer *a, size_t from) {
    size_t start = a->wrong_range ? 0 : from, bytes = a->bytes - start;
    size_t part = a->cut > 0 ? a->cut : a->stall;
    bool whole = part == 0 || part >= bytes;
    if (!send_all(l, (const char *)a->body + start, whole ? bytes : part))
        return;
    if (!whole && a->cut == 0) {
        wait_for_end(l, a->pause > 0 ? a->pause : 60000);
        if (a->pause > 0)
            send_all(l, (const char *)a->body + start + part, bytes - part);
    }
    static const char zeros[4096];
    while (a->endless && send_all(l, zeros, sizeof zeros))
        continue;
}

static void serve(server *s, int fd) {
    char head[4096];
    line l = {.fd = fd};
    bool good = true;
    if (s->tls != NULL) {
        l.tls = SSL_new(s->tls);
        good = l.tls != NULL && SSL_set_fd(l.tls, fd) == 1 && SSL_accept(l.tls) == 1;
    }
    if (good && receive(&l, head, sizeof head)) {
        server_request asked;
        const server_answer *a = note(s, head, &asked);
        size_t from = first_byte(a, &asked);
        if (a->status != 0)
            send_error(&l, a);
        else if (send_head(&l, a, from))
            send_body(&l, a, from);
    }
    SSL_free(l.tls);
    shutdown(fd, SHUT_RDWR);
    close(fd);
}

static bool stopping(server *s) {
    pthread_mutex_lock(&s->mutex);
    bool now = s->stopping;
    pthread_mutex_unlock(&s->mutex);
    return now;
}

static void *run(void *user) {
    server *s = user;
    while (!stopping(s)) {
        struct pollfd p = {.fd = s->listener, .events = POLLIN};
        if (poll(&p, 1, 50) <= 0)
            continue;
        int fd = accept(s->listener, NULL, NULL);
        if (fd >= 0)
            serve(s, fd);
    }
    return NULL;
}

/* ---- starting and ending ---- */

static void start(server *s) {
    signal(SIGPIPE, SIG_IGN); /* a client may hang up; TLS has no MSG_NOSIGNAL */
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof here;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&here, length), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&here, &length), 0);
    s->port = ntohs(here.sin_port);
    pthread_mutex_init(&s->mutex, NULL);
    assert_int_equal(pthread_create(&s->thread, NULL, run, s), 0);
}

void server_start(server *s, const server_answer *script, int answers) {
    *s = (server){.script = script, .answers = answers};
    start(s);
}

/* A certificate for the name, signed by its own key. */
static X509 *make_certificate(EVP_PKEY *key, const char *name) {
    char alternative[SERVER_TEXT];
    X509 *x = X509_new();
    assert_non_null(x);
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME *subject = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1,
                               0);
    X509_set_issuer_name(x, subject);
    X509_set_pubkey(x, key);
    snprintf(alternative, sizeof alternative, "%s", name);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, alternative);
    assert_non_null(names);
    X509_add_ext(x, names, -1);
    X509_EXTENSION_free(names);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    return x;
}

void server_start_tls(server *s, const server_answer *script, int answers, const char *name,
                      const char *certificate_file) {
    *s = (server){.script = script, .answers = answers};
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_true(tls != NULL && key != NULL);
    X509 *certificate = make_certificate(key, name);
    assert_int_equal(SSL_CTX_use_certificate(tls, certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(tls, key), 1);
    FILE *f = fopen(certificate_file, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, certificate), 1);
    assert_int_equal(fclose(f), 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
    s->tls = tls;
    start(s);
}

void server_stop(server *s) {
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    pthread_mutex_destroy(&s->mutex);
    close(s->listener);
    SSL_CTX_free(s->tls);
    s->tls = NULL;
}

const char *server_url(const server *s, const char *scheme, const char *host,
                       char url[SERVER_TEXT]) {
    snprintf(url, SERVER_TEXT, "%s://%s:%d/data.tgz", scheme, host, s->port);
    return url;
}
