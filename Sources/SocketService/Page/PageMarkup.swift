let pageMarkup = #"""
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <link rel="icon" href="data:,">
    <title>difffit</title>
    <style>/*STYLE*/</style>
    </head>
    <body>
    <header>
      <h1>difffit</h1>
      <p id="about">One frozen base, any domain.</p>
    </header>
    <main>
      <div class="panel">
        <form id="door" hidden>
          <label>Access token <input id="token" type="password" autocomplete="off" required></label>
          <div class="actions"><button type="submit" class="main">Open</button></div>
        </form>
        <form id="form" hidden>
          <div class="fields">
            <label class="wide">Domain <select id="domain"></select></label>
            <label class="wide" title="Weighted domains, blocks (flowers@0-3+art@4-7), a schedule (flowers&gt;0.6&gt;art) or added predictions (score(...))">Recipe
              <input id="recipe" placeholder="or several: 0.7*flowers+0.3*art" autocomplete="off" spellcheck="false" maxlength="4096"></label>
            <label class="wide">Class <select id="known"></select></label>
            <label class="wide" id="blend_field" hidden title="One class, a blend, or with commas one for each domain">Class or blend
              <input id="blend" list="classes" placeholder="0.5*flowers/rose+0.5*art/portrait" autocomplete="off" spellcheck="false" maxlength="4096">
              <datalist id="classes"></datalist></label>
            <label>Seed
              <span class="pair"><input id="seed" inputmode="numeric" pattern="[0-9]{1,20}" placeholder="random" autocomplete="off">
              <button type="button" id="dice" title="A random seed" aria-label="A random seed">&#x2684;</button></span></label>
            <label>Images <input id="n" type="number" min="1" max="64" value="4" required></label>
            <label>Steps <input id="steps" type="number" min="1" max="1000" value="40" required></label>
            <label>Guidance <input id="guidance_scale" type="number" min="0" max="50" step="any" value="3" required></label>
            <label title="Against the domain's own null class, the frozen base's, or not at all">Guided by <select id="guidance"></select></label>
            <label title="Guided between these noise levels: 0 is data, 1 is noise">From noise
              <span class="pair"><input id="noise_low" type="number" min="0" max="1" step="any" value="0" required>
              <input id="noise_high" type="number" min="0" max="1" step="any" value="1" required></span></label>
            <label title="0 is the frozen base, 1 the domain itself">Strength <input id="strength" type="number" min="-10" max="10" step="any" value="1" required></label>
            <label>Sampler <select id="sampler"></select></label>
            <label title="Reuse of the network from step to step, where the domain was calibrated for the sampler and steps">Cache <select id="cache"></select></label>
          </div>
          <div class="actions">
            <button type="submit" class="main" id="go">Sample</button>
            <button type="button" id="stop" hidden>Stop</button>
          </div>
        </form>
        <progress id="progress" max="1" value="0" hidden></progress>
        <p id="message" role="status"></p>
      </div>
      <section aria-live="polite">
        <div id="pictures"></div>
        <div id="facts" hidden>
          <p class="link"><a id="again" href="#">Link to these images</a> <button type="button" id="copy">Copy</button></p>
          <dl id="times"></dl>
        </div>
      </section>
    </main>
    <script>/*SCRIPT*/</script>
    </body>
    </html>

    """#
