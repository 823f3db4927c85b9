use snapback_detection::{rivals::RIVALS, run::*, score::*};
fn main() {
    let n: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let series = Series::full(1, n, 60);
    let t = std::time::Instant::now();
    let cols = play_all(&series.specs(), &RIVALS, &|_| {});
    eprintln!("{:?}", t.elapsed());
    for (c, o) in RIVALS.iter().zip(&cols) {
        let h = Cell::of(o.iter().filter(|o| !o.spec.class.is_bad()));
        let b = Cell::of(o.iter().filter(|o| o.spec.class.is_bad()));
        println!("{:26} false {:.3} det {:.3} med {:?} p95 {:?} cap {:?} harm {:?}", c.name, h.share(), b.share(), b.delay_median_s(), b.delay_p95_s(), b.delay_capped_median_s(), b.harmed_share());
        for cl in snapback_detection::trace::Class::ALL { print!(" {}={:.2}", cl.name(), Cell::of(o.iter().filter(|o| o.spec.class==cl)).share()); }
        println!();
        for r in snapback_detection::trace::RATES { let f=|b| Cell::of(o.iter().filter(move |o| o.spec.class.is_bad()==b && (o.spec.rate-r).abs()<1e-9)); print!("  {r}: {:.2}/{:.2}", f(false).share(), f(true).share()); }
        println!();
    }
}
