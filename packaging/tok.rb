# A Homebrew formula; ./release fills in @…@. It builds from source, on macOS and Linux.
class Tok < Formula
  desc "Fetch access tokens on the command-line"
  homepage "@URL@"
  url "@URL@/tok-@VERSION@.tar.gz"
  sha256 "@SHA256_SOURCE@"
  license any_of: ["MIT", "Apache-2.0"]

  depends_on "rust" => :build

  def install
    system "cargo", "install", *std_cargo_args
    man1.install Dir["man/*.1"]
    man5.install Dir["man/*.5"]
    bash_completion.install "completions/tok.bash" => "tok"
    zsh_completion.install "completions/_tok"
    fish_completion.install "completions/tok.fish"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/tok --version")
  end
end
