# The guest: what it runs, how it boots, what it leaves. Sourced by kernels.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154 # root, arch, cache, quick and filters are the caller's

# Long enough for every test on a machine that is busy; a guest that hangs ends with it.
guest_minutes=120

# What costs time under emulation, and is not what is tested: waits for the other processors' rest when a rule is taken away, memory
# cleared before it is used, defences against a neighbour on the same processor.
fast="rcupdate.rcu_expedited=1 init_on_alloc=0 mitigations=off nowatchdog audit=0 apparmor=0 nokaslr"

# build_for_guest: the published program, and the tests: compiled ahead of time, since an emulated processor takes minutes for what
# the runtime would compile, and with a runtime of their own where the guest has none.
build_for_guest() {
    publish_agent "$arch" -p:RunAnalyzers=false || fail "the program could not be published; the lines above say why."
    [ -z "$quick" ] || return 0
    local contained=--no-self-contained
    [ "$arch" = "$(machine_arch)" ] || contained=--self-contained
    compile publish "$root/tests/EdgeMesh.HostTests" -c Release -r "linux-$arch" "$contained" -o "$(tests_folder)" -v quiet \
        -p:PublishReadyToRun=true -p:ValidateExecutableReferencesMatchSelfContained=false -p:RunAnalyzers=false || fail "the host tests could not be published; the lines above say why."
}

tests_folder() { echo "$root/artifacts/kernels/$arch/tests"; }

# make_initramfs KERNEL: busybox and what mounts the root, in the order in which modules need each other.
make_initramfs() {
    local modules="$cache/linux-$1" folder="$cache/initramfs" busybox module file
    rm -rf "$folder"
    mkdir -p "$folder"/{bin,modules,proc,sys,dev,lower,over,new}
    if [ "$arch" = "$(machine_arch)" ]; then busybox=$(command -v busybox); else busybox="$cache/root/bin/busybox"; fi
    cp "$busybox" "$folder/bin/busybox"
    install -m 0755 "$root/scripts/kernels/init.sh" "$folder/init"
    # "insmod /…/9p.ko.xz", what it needs before it; what is built into the kernel is "builtin 9p".
    for module in virtio_pci 9pnet_virtio 9p overlay; do
        modprobe --dirname "$modules" --set-version "$(kernel_release "$1")" --ignore-install --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
        module=$(basename "${file%.xz}")
        case $file in *.xz) xz -dc "$file" ;; *) cat "$file" ;; esac >"$folder/modules/$module"
        echo "$module" >>"$folder/modules/order"
    done
    (cd "$folder" && find . | cpio --quiet -o -H newc | gzip -1) >"$cache/initramfs.gz"
}

# run_guest KERNEL: leaves console.log and status in $cache/out.
run_guest() {
    local kernel=$1 out="$cache/out" share machine console=ttyS0 clock=
    rm -rf "$out"
    mkdir -p "$out"
    make_initramfs "$kernel"
    if [ "$arch" = "$(machine_arch)" ]; then share=/; else share="$cache/root"; fi
    case $arch in
    # A kernel that does not trust the emulated counter asks an emulated device for the time, at every look.
    x64) machine=(qemu-system-x86_64 -machine q35 -cpu max,la57=off) clock="tsc=reliable clocksource=tsc" ;;
    arm64) machine=(qemu-system-aarch64 -machine virt -cpu cortex-a72) console=ttyAMA0 ;;
    esac
    {
        printf 'export EDGEMESH_AGENT=%q EDGEMESH_SLOWNESS=10 EDGEMESH_RING=Kernels\n' "$(agent_folder "$arch")/edgemesh-agent"
        # The emulation translates a page anew whenever code in it is mapped or written: the runtime shall do so seldom, and never
        # compile a second time what was compiled ahead of time.
        printf 'export DOTNET_EnableWriteXorExecute=0 DOTNET_TieredPGO=0 DOTNET_TC_CallCountThreshold=7fff\n'
        printf 'repository=%q modules=%q tests=%q quick=%q filters=%q\n' "$root" "$cache/linux-$kernel/lib/modules" "$(tests_folder)/EdgeMesh.HostTests" "$quick" "${filters[*]}"
    } >"$out/settings"
    # Never /dev/kvm: where there is one, not every machine lets it be used, and a result shall not depend on that.
    timeout --foreground "${guest_minutes}m" "${machine[@]}" -accel tcg,thread=multi -smp 2 -m 4096 -nographic -no-reboot -nic none \
        -kernel "$cache/linux-$kernel"/boot/vmlinuz-* -initrd "$cache/initramfs.gz" \
        -append "console=$console panic=-1 quiet $clock $fast" \
        -virtfs "local,path=$share,mount_tag=root,security_model=none,readonly=on,multidevs=remap" \
        -virtfs "local,path=$root,mount_tag=repository,security_model=none,readonly=on,multidevs=remap" \
        -virtfs "local,path=$out,mount_tag=out,security_model=none" \
        </dev/null 2>&1 | sed -u 's/\r//g; s/\x1b[^m]*guest: /guest: /' | tee "$out/console.log" | sed -un '/guest: /,$p'
    [ -e "$out/status" ] || echo "The guest ended, or was ended after $guest_minutes minutes, before its tests did; $out/console.log has what it said."
}
