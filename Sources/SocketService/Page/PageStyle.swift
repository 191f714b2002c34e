let pageStyle = #"""
    :root { --ink: #1d2129; --soft: #656d7b; --line: #d9dde4; --paper: #f6f7f9; --card: #fff; --accent: #2456d6; --bad: #b3261e; }
    @media (prefers-color-scheme: dark) {
      :root { --ink: #e8eaee; --soft: #99a1b0; --line: #353b47; --paper: #14171c; --card: #1d2128; --accent: #7ea2ff; --bad: #ff8a80; }
    }
    * { box-sizing: border-box; }
    [hidden] { display: none !important; }
    body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.45 system-ui, sans-serif; }
    header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 .8rem; padding: 1.2rem clamp(1rem, 4vw, 2.5rem) .2rem; }
    h1 { margin: 0; font-size: 1.5rem; letter-spacing: -.02em; }
    header p { margin: 0; color: var(--soft); overflow-wrap: anywhere; }
    main { display: grid; grid-template-columns: minmax(16rem, 20rem) minmax(0, 1fr); gap: 1.5rem; padding: 1rem clamp(1rem, 4vw, 2.5rem) 2.5rem; max-width: 84rem; }
    .panel { align-self: start; background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1.1rem; }
    form { display: grid; gap: 1rem; }
    .fields { display: grid; grid-template-columns: 1fr 1fr; gap: .8rem; }
    label { display: grid; gap: .25rem; font-size: .85rem; color: var(--soft); min-width: 0; }
    .wide { grid-column: 1 / -1; }
    input, select, button { font: inherit; color: var(--ink); min-height: 2.5rem; border-radius: 8px; }
    input, select { width: 100%; min-width: 0; padding: .3rem .6rem; background: var(--paper); border: 1px solid var(--line); }
    :focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
    button { padding: .3rem 1rem; background: none; border: 1px solid var(--line); cursor: pointer; }
    .pair { display: flex; gap: .3rem; }
    .pair button { flex: none; padding: 0; width: 2.5rem; font-size: 1.2rem; line-height: 1; }
    .actions { display: flex; gap: .6rem; }
    .main { flex: 1; background: var(--accent); border-color: var(--accent); color: var(--card); font-weight: 600; }
    button:disabled { opacity: .5; cursor: default; }
    section { min-width: 0; }
    progress { width: 100%; height: .5rem; margin-top: .9rem; accent-color: var(--accent); }
    #message { margin: .5rem 0 0; color: var(--soft); font-size: .9rem; overflow-wrap: anywhere; }
    #message:empty { display: none; }
    #message.bad { color: var(--bad); }
    #pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(11rem, 42vw), 1fr)); gap: .9rem; }
    figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 12px; overflow: hidden; }
    figure .frame { aspect-ratio: 1; background: var(--paper); }
    figure img { display: block; width: 100%; height: 100%; image-rendering: pixelated; }
    figure.done img { animation: settle .25s ease-out; }
    @keyframes settle { from { opacity: .6; } }
    figcaption { display: flex; justify-content: space-between; align-items: center; gap: .5rem; padding: .35rem .7rem; font-size: .85rem; color: var(--soft); }
    a { color: var(--accent); }
    figcaption a { display: inline-block; padding: .3rem .2rem; }
    figcaption span { flex: 1; }
    dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .15rem 1rem; margin: 1rem 0 0; font-size: .9rem; }
    dt { color: var(--soft); }
    dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
    dd.mono { font-family: ui-monospace, monospace; font-size: .82rem; }
    .link { display: flex; flex-wrap: wrap; align-items: center; gap: .8rem; margin: 1.2rem 0 0; }
    @media (max-width: 46rem) {
      main { grid-template-columns: minmax(0, 1fr); gap: 1rem; }
    }
    """#
