/* url.c - see url.h. libcurl reads the URL, so that what is checked is what is asked. */
#include "download/url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

bool url_is_https(const char *url) {
    return strncasecmp(url, "https://", 8) == 0;
}

bool url_is_loopback(const struct sockaddr *address) {
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof v4);
        return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        memcpy(&v6, address, sizeof v6);
        return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
    }
    return false;
}

/* The name localhost may be resolved to anything: transfer.c looks at the address again. */
static bool host_is_here(const char *host) {
    struct in_addr v4;
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

kn_status url_check(const char *url, bool must_https, kn_status status, kn_error *error) {
    char *scheme = NULL, *host = NULL;
    const char *wrong = NULL;
    CURLU *parts = curl_url();
    if (parts == NULL)
        return kn_error_set(error, KN_ERR_MEMORY, "out of memory: reading a URL");
    if (curl_url_set(parts, CURLUPART_URL, url, CURLU_DISALLOW_USER) != CURLUE_OK ||
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
        wrong = "is no URL that can be asked";
    else if (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0)
        wrong = "only https is asked";
    else if (curl_url_get(parts, CURLUPART_HOST, &host, 0) != CURLUE_OK)
        wrong = "is no URL that can be asked";
    else if (strcmp(scheme, "http") == 0 && must_https)
        wrong = "https does not lead on to plain http";
    else if (strcmp(scheme, "http") == 0 && !host_is_here(host))
        wrong = "plain http is asked of this machine only; elsewhere https";
    if (wrong != NULL)
        kn_error_set(error, status, "%s: %s", url, wrong);
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(parts);
    return wrong != NULL ? status : KN_OK;
}
