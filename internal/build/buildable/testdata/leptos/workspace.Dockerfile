# Written by harmony: buildable rust-leptos: web
FROM docker.io/library/rust:1-bookworm AS build
WORKDIR /src
# The tools, unless the image has them.
RUN command -v cargo-leptos || cargo install --locked cargo-leptos@0.3.6
# The dependencies: manifests, and programs that do nothing.
COPY manifests/ ./
RUN if command -v rustup; then rustup target add wasm32-unknown-unknown; fi
RUN cargo build --release --package=server --bin=server --target-dir=target --no-default-features --features=shared && \
    cargo build --release --package=client --lib --target=wasm32-unknown-unknown --target-dir=target/front --no-default-features --features=shared
# The application. Cargo goes by times, and the programs above are younger.
COPY source/ ./
ENV LEPTOS_OUTPUT_NAME=store LEPTOS_SITE_ROOT=target/site LEPTOS_SITE_PKG_DIR=assets
RUN find . -path ./target -prune -o -type f -name '*.rs' -exec touch {} + && \
    cargo leptos build --release --project=store && \
    mkdir -p /out && cp -R target/site /out/site && cp target/release/server /out/server && \
    if [ -f target/release/hash.txt ]; then cp target/release/hash.txt /out/hash.txt; fi

FROM gcr.io/distroless/cc-debian12:nonroot
WORKDIR /app
COPY --from=build /out/ ./
ENV LEPTOS_ENV="PROD"
ENV LEPTOS_OUTPUT_NAME="store"
ENV LEPTOS_SITE_ADDR="0.0.0.0:3000"
ENV LEPTOS_SITE_PKG_DIR="assets"
ENV LEPTOS_SITE_ROOT="site"
EXPOSE 3000
USER 65532:65532
ENTRYPOINT ["/app/server"]
