// main.cc - the same from C++, which includes the same headers.
#include <kiln/kiln.h>

#include <cstdio>

int main() {
    kn_error error{};
    kn_ctx_opts opts{};
    opts.seed = 42;
    opts.threads = 1;
    kn_ctx *ctx = nullptr;
    if (kn_ctx_new(&ctx, opts, &error) != KN_OK) {
        std::fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    kn_module *model = kn_simple_cnn(ctx, 10);
    std::printf("%lld\n", static_cast<long long>(kn_module_numel(model)));
    kn_module_free(model);
    kn_ctx_free(ctx);
}
