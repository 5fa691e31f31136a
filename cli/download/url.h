/* url.h - which URLs may be asked. */
#ifndef KILN_DOWNLOAD_URL_H
#define KILN_DOWNLOAD_URL_H

#include <kiln/base.h>

/* KN_OK for https; for plain http only if the host is this machine (localhost, 127.0.0.0/8, ::1)
 * and must_https is not set, as it is once an https server has redirected. No user names. The
 * failure's status is the given one: a wrong URL may be typed, or come from a server. */
kn_status url_check(const char *url, bool must_https, kn_status status, kn_error *error);

/* Whether the scheme is https. url has passed url_check. */
bool url_is_https(const char *url);

struct sockaddr;

/* Whether the address is this machine's: 127.0.0.0/8 or ::1. */
bool url_is_loopback(const struct sockaddr *address);

#endif
