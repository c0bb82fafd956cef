{
  description = "tok, a command-line token fetcher";

  inputs.nixpkgs.url = "nixpkgs";

  outputs = { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ];
      each = make: builtins.listToAttrs (map (name: { inherit name; value = make nixpkgs.legacyPackages.${name}; }) systems);
      cargo = builtins.fromTOML (builtins.readFile ./Cargo.toml);
    in
    {
      packages = each (pkgs: {
        default = pkgs.rustPlatform.buildRustPackage {
          pname = "tok";
          version = cargo.package.version;
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          nativeBuildInputs = [ pkgs.installShellFiles ];
          # The tests need a Secret Service and the network's loopback: ./test runs them.
          doCheck = false;
          postInstall = ''
            installManPage man/*.1 man/*.5
            installShellCompletion --bash --name tok completions/tok.bash
            installShellCompletion --zsh completions/_tok
            installShellCompletion --fish completions/tok.fish
          '';
          meta = {
            description = cargo.package.description;
            license = [ pkgs.lib.licenses.mit pkgs.lib.licenses.asl20 ];
            mainProgram = "tok";
          };
        };
      });
    };
}
