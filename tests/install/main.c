/* main.c - a program of somebody who installed Kiln: builds the chapter's model and counts it. */
#include <kiln/kiln.h>

#include <stdio.h>

int main(void) {
    kn_error error = {0};
    kn_ctx *ctx = NULL;
    if (kn_ctx_new(&ctx, (kn_ctx_opts){.seed = 42, .threads = 1}, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    kn_module *model = kn_simple_cnn(ctx, 10);
    printf("%lld\n", (long long)kn_module_numel(model));
    kn_module_free(model);
    kn_ctx_free(ctx);
    return 0;
}
