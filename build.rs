//! Makes Rust of the gRPC front's `.proto` files, where the front is wanted: the server's side, and
//! the client's for the tests. Needs no `protoc`.

fn main() {
    println!("cargo::rerun-if-changed=src/grpc/proto");
    #[cfg(feature = "grpc")]
    grpc::generate();
}

#[cfg(feature = "grpc")]
mod grpc {
    use std::path::PathBuf;

    use prost::Message;

    const FOLDER: &str = "src/grpc/proto";

    /// One file with a module for each package. Bytes are shared with what was received, not
    /// copied.
    pub(crate) fn generate() {
        let files: Vec<PathBuf> = std::fs::read_dir(FOLDER)
            .expect("the folder of the .proto files is there")
            .map(|entry| entry.expect("it can be listed").path())
            .filter(|path| path.extension().is_some_and(|end| end == "proto"))
            .collect();
        let set = protox::compile(&files, [FOLDER]).unwrap_or_else(|error| panic!("{error:?}"));
        tonic_prost_build::configure()
            .build_client(false)
            .codec_path("crate::grpc::codec::Codec")
            .bytes(".")
            .btree_map("kurrentdb")
            .include_file("wire.rs")
            .compile_fds(set.clone())
            .expect("what was compiled can be written");
        let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("it is set")).join("client");
        std::fs::create_dir_all(&out).expect("a folder can be made");
        std::fs::write(out.join("descriptors.bin"), set.encode_to_vec())
            .expect("a file can be written");
        tonic_prost_build::configure()
            .build_server(false)
            .bytes(".")
            .include_file("client.rs")
            .out_dir(out)
            .compile_fds(set)
            .expect("what was compiled can be written");
    }
}
