/* transfer.c - see transfer.h. One try is: follow redirects to the file (each checked by url.c, so
 * libcurl follows none itself), then take what the server gives. Which part of the file it gives is
 * decided at the first byte of the answer, when its headers are known. */
#include "download/transfer.h"

#include "download/answer.h"
#include "download/progress.h"
#include "download/stop.h"
#include "download/url.h"

#include <curl/curl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    REDIRECTS = 10,
    LOW_SPEED = 1000,    /* bytes a second */
    ERROR_PAGE = 1 << 16 /* bytes of an answer that is not the file */
};

typedef struct transfer {
    const job *j;
    part *p;
    kn_error *error; /* of this try */
    CURL *easy;
    progress shown;
    char url[DATASET_URL];
    char curl_error[CURL_ERROR_SIZE];
    answer answer;  /* the headers */
    int64_t offset; /* what was asked for begins here */
    size_t page;    /* bytes of an answer that is not the file */
    bool begun;     /* the answer's body is the file's, or a part of it */
    bool answered;  /* some server of this run has */
    bool again;     /* the failure may pass */
    long wait;      /* seconds that the server asks to wait */
} transfer;

/* ---- what libcurl calls ---- */

/* Looked up once more: a name may have been given any address. */
static curl_socket_t open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address) {
    const transfer *t = user;
    (void)purpose;
    if (!url_is_https(t->url) && !url_is_loopback(&address->addr))
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t on_header(char *line, size_t one, size_t length, void *user) {
    transfer *t = user;
    (void)one;
    t->answered = true;
    answer_header(&t->answer, line, length);
    return length;
}

static kn_status other_size(transfer *t, int64_t bytes) {
    return kn_error_set(t->error, KN_ERR_DATA, "%s: has %lld bytes, expected %lld", t->url,
                        (long long)bytes, (long long)t->j->set.bytes);
}

/* The first byte of the file: from its beginning, or from where we asked. */
static kn_status begin(transfer *t) {
    const answer *a = &t->answer;
    curl_off_t length = -1;
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (a->code == 200 && length >= 0 && length != t->j->set.bytes)
        return other_size(t, length);
    if (a->code == 206 && a->total >= 0 && a->total != t->j->set.bytes)
        return other_size(t, a->total);
    if (a->code == 206 && a->start != t->offset) {
        t->again = true;
        part_restart(t->p, "", t->error);
        return kn_error_set(t->error, KN_ERR_IO, "%s: another range than asked for came", t->url);
    }
    t->begun = true;
    if (a->code == 206)
        return KN_OK;
    if (t->p->size > 0)
        report_note(&t->j->r, "%s: the server gives no rest, or has another version; starting over",
                    t->j->set.name);
    return part_restart(t->p, a->etag, t->error);
}

static size_t on_body(char *data, size_t one, size_t length, void *user) {
    transfer *t = user;
    (void)one;
    if (t->answer.code != 200 && t->answer.code != 206) {
        t->page += length;
        return t->page <= ERROR_PAGE ? length : 0; /* 0 ends the try */
    }
    if (!t->begun && begin(t) != KN_OK)
        return 0;
    if ((int64_t)length > t->j->set.bytes - t->p->size) {
        kn_error_set(t->error, KN_ERR_DATA, "%s: sends more than the %lld bytes expected", t->url,
                     (long long)t->j->set.bytes);
        part_restart(t->p, "", NULL);
        return 0;
    }
    return part_append(t->p, data, length, t->error) == KN_OK ? length : 0;
}

static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    transfer *t = user;
    (void)a, (void)b, (void)c, (void)d;
    if (t->begun)
        progress_show(&t->shown, t->p->size);
    return stop_asked();
}

/* ---- one request ---- */

/* A build of libcurl may lack what a security setting needs; then nothing is asked. */
static bool set_up(transfer *t) {
    CURL *e = t->easy;
    bool plain = !url_is_https(t->url);
    const char *trusted = getenv("SSL_CERT_FILE");
    CURLcode code = CURLE_OK;
#define SET(option, value)                                                                         \
    if (code == CURLE_OK)                                                                          \
    code = curl_easy_setopt(e, option, value)
    SET(CURLOPT_URL, t->url);
#if LIBCURL_VERSION_NUM >= 0x075500
    SET(CURLOPT_PROTOCOLS_STR, plain ? "http" : "https");
#else
    SET(CURLOPT_PROTOCOLS, plain ? (long)CURLPROTO_HTTP : (long)CURLPROTO_HTTPS);
#endif
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (trusted != NULL && trusted[0] != '\0')
        SET(CURLOPT_CAINFO, trusted);
    if (plain) /* a proxy would not reach this machine's servers, and plain text is for no other */
        SET(CURLOPT_PROXY, "");
    SET(CURLOPT_OPENSOCKETFUNCTION, plain ? open_socket : NULL);
    SET(CURLOPT_OPENSOCKETDATA, t);
    SET(CURLOPT_USERAGENT, "kiln-download/" KN_VERSION);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_CONNECTTIMEOUT, (long)t->j->stall);
    SET(CURLOPT_LOW_SPEED_LIMIT, (long)LOW_SPEED);
    SET(CURLOPT_LOW_SPEED_TIME, (long)t->j->stall);
    SET(CURLOPT_ERRORBUFFER, t->curl_error);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, t);
    SET(CURLOPT_NOPROGRESS, 0L);
#undef SET
    return code == CURLE_OK;
}

/* "If-Range: "..."": the rest of that version, or else all of the new one. */
static struct curl_slist *ask_rest(transfer *t, bool *good) {
    char range[32], header[PART_ETAG + 16];
    struct curl_slist *headers = NULL;
    t->offset = t->p->size;
    if (t->offset == 0)
        return NULL;
    snprintf(range, sizeof range, "%lld-", (long long)t->offset);
    *good = curl_easy_setopt(t->easy, CURLOPT_RANGE, range) == CURLE_OK;
    if (t->p->etag[0] != '\0') {
        snprintf(header, sizeof header, "If-Range: %s", t->p->etag);
        headers = curl_slist_append(NULL, header);
        *good = *good && headers != NULL &&
                curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, headers) == CURLE_OK;
    }
    return headers;
}

static kn_status request(transfer *t, CURLcode *code) {
    t->answer = (answer){.start = -1, .total = -1};
    t->begun = false;
    t->page = 0;
    t->curl_error[0] = '\0';
    curl_easy_reset(t->easy);
    bool good = set_up(t);
    struct curl_slist *headers = ask_rest(t, &good);
    if (good)
        *code = curl_easy_perform(t->easy);
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    if (!good)
        return kn_error_set(t->error, KN_ERR_MEMORY, "libcurl does not take its settings");
    return t->error->status;
}

/* ---- one try ---- */

static bool may_pass(const transfer *t, CURLcode code) {
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        return t->answered; /* else there is no network, or no such server: say so at once */
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_WEIRD_SERVER_REPLY:
        return true;
    default:
        return false;
    }
}

static kn_status curl_failed(transfer *t, CURLcode code) {
    const char *why = t->curl_error[0] != '\0' ? t->curl_error : curl_easy_strerror(code);
    if (code == CURLE_OUT_OF_MEMORY)
        return kn_error_set(t->error, KN_ERR_MEMORY, "%s: %s", t->url, why);
    t->again = may_pass(t, code);
    const char *hint = code == CURLE_SSL_CACERT_BADFILE
                           ? "; the certificates to trust are Debian's package ca-certificates"
                           : "";
    return kn_error_set(t->error, KN_ERR_IO, "%s: %s%s", t->url, why, hint);
}

/* An answer that is not the file. */
static kn_status refused(transfer *t) {
    static const int passing[] = {408, 429, 500, 502, 503, 504};
    int code = t->answer.code;
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++)
        t->again = t->again || code == passing[i];
    if (code == 416 && t->offset > 0) { /* what is here is no part of what is there */
        t->again = true;
        if (part_restart(t->p, "", t->error) != KN_OK)
            return t->error->status;
    }
    curl_off_t wait = 0;
    if (curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &wait) == CURLE_OK && wait > 0)
        t->wait = wait < 60 ? (long)wait : 60;
    return kn_error_set(t->error, KN_ERR_IO, "%s: the server answers %d%s", t->url, code,
                        code == 404 ? " (not found)" : "");
}

/* Into t->url the next place. */
static kn_status redirect(transfer *t) {
    char *next = NULL;
    curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &next);
    if (next == NULL)
        return refused(t);
    if (url_check(next, url_is_https(t->url), KN_ERR_IO, t->error) != KN_OK)
        return t->error->status;
    if (strlen(next) >= sizeof t->url)
        return kn_error_set(t->error, KN_ERR_IO, "%s: redirects to a URL that is too long", t->url);
    memcpy(t->url, next, strlen(next) + 1);
    return KN_OK;
}

static kn_status end(transfer *t, CURLcode code) {
    if (stop_asked())
        return kn_error_set(t->error, KN_ERR_STATE, "interrupted");
    if (t->answer.code != 0 && t->answer.code != 200 && t->answer.code != 206 &&
        (code == CURLE_OK || code == CURLE_WRITE_ERROR))
        return refused(t);
    if (code != CURLE_OK)
        return curl_failed(t, code);
    if (!t->begun) /* not one byte, so begin had no call */
        return other_size(t, t->offset);
    if (t->p->size == t->j->set.bytes)
        return KN_OK;
    t->again = true;
    return kn_error_set(t->error, KN_ERR_IO, "%s: ends after %lld of %lld bytes", t->url,
                        (long long)t->p->size, (long long)t->j->set.bytes);
}

static kn_status try(transfer *t) {
    memcpy(t->url, t->j->set.url, sizeof t->url);
    for (int i = 0; i <= REDIRECTS; i++) {
        CURLcode code = CURLE_OK;
        kn_status status = request(t, &code);
        if (status != KN_OK)
            return status;
        if (t->answer.code < 300 || t->answer.code > 399 || stop_asked())
            return end(t, code);
        status = redirect(t);
        if (status != KN_OK)
            return status;
    }
    return kn_error_set(t->error, KN_ERR_IO, "%s: more than %d redirects", t->j->set.url,
                        REDIRECTS);
}

/* ---- all of them ---- */

static double wait_for(const transfer *t, int tries) {
    double wait = t->j->wait;
    for (int i = 1; i < tries && wait < 60; i++)
        wait *= 2;
    return wait > (double)t->wait ? wait : (double)t->wait;
}

/* The last failure, and what is left of the work. */
static kn_status give_up(const transfer *t, const kn_error *last, int tries, kn_error *error) {
    char more[160] = "";
    if (t->p->size > 0 && last->status == KN_ERR_IO)
        snprintf(more, sizeof more, "; %lld of %lld bytes are kept, and the next run goes on there",
                 (long long)t->p->size, (long long)t->j->set.bytes);
    if (tries > 1)
        return kn_error_set(error, last->status, "%s (%d tries)%s", last->message, tries, more);
    return kn_error_set(error, last->status, "%s%s", last->message, more);
}

static kn_status run(transfer *t, kn_error *error) {
    int tries = 0;
    while (t->p->size != t->j->set.bytes) {
        kn_error failed = {0};
        int64_t before = t->p->size;
        t->error = &failed;
        t->again = false;
        t->wait = 0;
        tries++;
        kn_status status = try(t);
        progress_clear(&t->shown);
        if (status == KN_OK)
            break;
        if (!t->again || status == KN_ERR_STATE)
            return give_up(t, &failed, 1, error);
        if (t->p->size - before > t->j->set.bytes / 100)
            tries = 1; /* it gets on, however often it breaks off */
        if (tries > t->j->retries)
            return give_up(t, &failed, tries, error);
        double wait = wait_for(t, tries);
        report_note(&t->j->r, "%s; trying again in %g s", failed.message, wait);
        stop_sleep(wait);
        if (stop_asked())
            return kn_error_set(error, KN_ERR_STATE, "interrupted");
    }
    return KN_OK;
}

kn_status transfer_run(const job *j, part *p, kn_error *error) {
    transfer t = {.j = j, .p = p};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return kn_error_set(error, KN_ERR_MEMORY, "libcurl does not start");
    t.easy = curl_easy_init();
    kn_status status;
    if (t.easy == NULL)
        status = kn_error_set(error, KN_ERR_MEMORY, "libcurl does not start");
    else {
        progress_begin(&t.shown, &j->r, j->set.name, j->set.bytes, p->size);
        status = run(&t, error);
        curl_easy_cleanup(t.easy);
    }
    curl_global_cleanup();
    return status;
}

void transfer_version(char *text, size_t size) {
    const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
    snprintf(text, size, "libcurl %s (%s)", info->version,
             info->ssl_version != NULL ? info->ssl_version : "without TLS");
}
