# Written by harmony: buildable rust-leptos: .
FROM registry.example.com/rust@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa AS build
WORKDIR /src
# The tools, unless the image has them.
RUN command -v cargo-leptos || cargo install --locked cargo-leptos@0.2.43
# The dependencies: manifests, and programs that do nothing.
COPY manifests/ ./
RUN if command -v rustup; then rustup target add wasm32-unknown-unknown; fi
RUN cargo build --release --package=shop --bin=shop-server --target-dir=target --no-default-features --features=postgres,ssr,tls --locked && \
    cargo build --release --package=shop-client --lib --target=wasm32-unknown-unknown --target-dir=target/front --no-default-features --features=postgres,hydrate --locked
# The application. Cargo goes by times, and the programs above are younger.
COPY source/ ./
ENV LEPTOS_OUTPUT_NAME=store LEPTOS_SITE_ROOT=out/site LEPTOS_SITE_PKG_DIR=static
RUN find . -path ./target -prune -o -type f -name '*.rs' -exec touch {} + && \
    cargo leptos build --release --features=postgres --bin-features=ssr,tls --lib-features=hydrate && \
    mkdir -p /out && cp -R out/site /out/site && cp target/release/shop-server /out/shop-server && \
    if [ -f target/release/hash.txt ]; then cp target/release/hash.txt /out/hash.txt; fi

FROM debian:bookworm-slim
WORKDIR /app
COPY --from=build /out/ ./
ENV GREETING="say \"hi\" to \\ \$USER"
ENV LEPTOS_ENV="PROD"
ENV LEPTOS_OUTPUT_NAME="store"
ENV LEPTOS_SITE_ADDR="0.0.0.0:8080"
ENV LEPTOS_SITE_PKG_DIR="static"
ENV LEPTOS_SITE_ROOT="site"
ENV RUST_LOG="info"
EXPOSE 8080
USER 65532:65532
ENTRYPOINT ["/app/shop-server"]
